from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.servers.galera import Cluster
from tests.servers.mariadb import ask


@pytest.fixture
def database(galera: Cluster) -> Iterator[str]:
    """The name of an empty database of the cluster."""
    name = f"kapusta_{secrets.token_hex(4)}"
    ask(galera.nodes[1].address, f"CREATE DATABASE {name}")
    yield name
    ask(galera.nodes[1].address, f"DROP DATABASE {name}")
