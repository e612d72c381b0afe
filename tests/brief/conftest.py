"""Checks that stand beside the tests show their values, as those in tests do."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.brief.running", "tests.brief.defining", "tests.brief.moving")
