"""A throw-away Galera cluster of three MariaDB nodes: the fixture ``galera``."""

from __future__ import annotations

import os
import pwd
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pymysql
import pytest
from sqlalchemy import URL

from tests.servers.mariadb import ask
from tests.servers.owned import OwnedServer, answers, binary, free_port, missing

_SERVERS = [Path(folder) for folder in ("/usr/sbin", "/usr/local/bin", "/usr/libexec")]
_LIBRARIES = [
    Path(folder) / "libgalera_smm.so"
    for folder in ("/usr/lib/galera", "/usr/lib", "/usr/lib64/galera-4", "/usr/lib64/galera")
]


class Node:
    """One of the servers.

    Attributes:
        address: its user may do everything.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.server = OwnedServer(f"galera{number}", users=["mysql"])
        self.data = self.server.folder / "data"
        self.port, self.group, self._increments, self._copies = (free_port() for _ in range(4))
        self.address = URL.create("mariadb", username="root", host="127.0.0.1", port=self.port)

    def start(self, mariadbd: Path, library: Path, members: Sequence[Node]) -> None:
        """Start it as the first of a cluster, or as another of *members*, and return when it takes part."""
        peers = ",".join(f"127.0.0.1:{member.group}" for member in members)
        options = {
            "gmcast.listen_addr": f"tcp://127.0.0.1:{self.group}",
            "ist.recv_addr": f"127.0.0.1:{self._increments}",
            "gcache.size": "16M",
            # A node that is killed is missed after two seconds instead of fifteen.
            "evs.keepalive_period": "PT0.3S",
            "evs.inactive_check_period": "PT0.3S",
            "evs.suspect_timeout": "PT1S",
            "evs.inactive_timeout": "PT3S",
        }
        self.server.start(
            mariadbd,
            "--no-defaults",
            f"--datadir={self.data}",
            f"--socket={self.server.folder / 'socket'}",
            f"--pid-file={self.server.folder / 'pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--innodb-flush-method=nosync",  # what a machine that fails would lose is no matter here
            "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=16M",  # it is copied to each node that joins
            "--innodb-autoinc-lock-mode=2",
            "--max-connections=100",
            "--skip-name-resolve",
            "--binlog-format=ROW",
            "--wsrep-on=ON",
            f"--wsrep-provider={library}",
            "--wsrep-cluster-name=kapusta",
            f"--wsrep-cluster-address=gcomm://{peers}",
            f"--wsrep-node-name=node{self.number}",
            f"--wsrep-node-address=127.0.0.1:{self.group}",
            f"--wsrep-sst-receive-address=127.0.0.1:{self._copies}",
            "--wsrep-sst-method=rsync",
            f"--wsrep-provider-options={';'.join(f'{name}={value}' for name, value in options.items())}",
            ending="SIGTERM",
            ready=self.takes_part,
        )

    def takes_part(self) -> bool:
        """Whether it has all that the cluster has, and is asked."""
        if not (self.server.folder / "pid").exists() or not answers(self.port):
            return False
        with suppress(pymysql.err.MySQLError):  # it does not speak to clients yet
            return self.status("wsrep_local_state_comment") == "Synced"
        return False

    def status(self, name: str) -> str:
        """One of its counters."""
        [(_, value)] = ask(self.address, "SHOW STATUS LIKE %s", [name])
        return str(value)

    def kill(self) -> None:
        """As a machine that loses power, and return when it is gone."""
        self.server.crash(signal.SIGKILL)


class Cluster:
    """The nodes."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes

    def url_of(self, node: int, database: str) -> str:
        """The URL of a database, at one of the nodes."""
        address = self.nodes[node].address.set(drivername="mariadb+aiomysql", database=database)
        return address.render_as_string(hide_password=False)

    def conflicts(self) -> int:
        """How many transactions have failed so far because another node was first, on the nodes that are there."""
        counters = ("wsrep_local_cert_failures", "wsrep_local_bf_aborts")
        there = [node for node in self.nodes if answers(node.port)]
        return sum(int(node.status(counter)) for node in there for counter in counters)

    def stop(self) -> None:
        """End what is left of it."""
        for node in self.nodes:
            node.server.stop()


@pytest.fixture(scope="session")
def galera() -> Iterator[Cluster]:
    """Three nodes that belong to this run of the tests."""
    mariadbd, install = binary("mariadbd", _SERVERS), binary("mariadb-install-db", _SERVERS)
    library = next((path for path in _LIBRARIES if path.exists()), None)
    if mariadbd is None or install is None or library is None or binary("rsync", ()) is None:
        missing("Galera", remedy="install it (Debian: apt-get install mariadb-server galera-4 rsync)")
    nodes = [Node(number) for number in range(3)]
    cluster = Cluster(nodes)
    try:
        nodes[0].server.run(
            install,
            "--no-defaults",
            f"--datadir={nodes[0].data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--innodb-flush-method=nosync",
            "--innodb-log-file-size=16M",
        )
        for node in nodes[1:]:
            _make_folder(node)
        for node in nodes:  # one after the other: a node that gives its state to another gives it to one
            node.start(mariadbd, library, nodes if node.number else ())
        yield cluster
    finally:
        cluster.stop()


def _make_folder(node: Node) -> None:
    node.data.mkdir()
    if node.server.user is not None:
        entry = pwd.getpwnam(node.server.user)
        os.chown(node.data, entry.pw_uid, entry.pw_gid)
