from __future__ import annotations

pytest_plugins = ["tests.servers.mariadb", "tests.servers.postgresql", "tests.servers.galera"]
