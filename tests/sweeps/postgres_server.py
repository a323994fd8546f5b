"""A real PostgreSQL on this machine, for tests: a database with a user and a password, on loopback, in a temporary directory."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from slurm_cluster import dies_with_us, free_ports, wait_for

_STARTING_SECONDS = 30


@dataclass(frozen=True)
class PostgresServer:
    """A server that runs."""

    port: int
    user: str
    password: str

    @property
    def url(self) -> str:
        """As SQLAlchemy takes it."""
        return f"postgresql+psycopg://{self.user}:{self.password}@127.0.0.1:{self.port}/postgres"


def program(name: str) -> Path | None:
    """One of the server's programs: where Debian keeps them, the newest version's, or on PATH."""
    kept = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    found = str(kept[-1]) if kept else shutil.which(name)
    return None if found is None else Path(found)


def missing_programs() -> list[str]:
    """What has to be installed for it: postgresql on Debian."""
    return [one for one in ("initdb", "postgres") if program(one) is None]


@contextlib.contextmanager
def started_server() -> Iterator[PostgresServer]:
    """A server for as long as it is needed; nothing is left of it."""
    initdb, postgres = program("initdb"), program("postgres")
    assert initdb is not None
    assert postgres is not None
    owner = _owner()
    with tempfile.TemporaryDirectory(prefix="thrifty-postgres-", dir=_open_to_all()) as name:
        directory = Path(name)
        server = PostgresServer(free_ports(1)[0], "searcher", secrets.token_hex(16))
        password_file = directory / "password"
        password_file.write_text(server.password)
        if owner is not None:
            os.chown(directory, owner.pw_uid, owner.pw_gid)
            os.chown(password_file, owner.pw_uid, owner.pw_gid)
        data, log = directory / "data", directory / "log"
        with log.open("wb") as output:

            def start(*words: str | Path) -> subprocess.Popen[bytes]:
                return subprocess.Popen(
                    words, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=_child_of(owner)
                )

            made = start(
                initdb, "-D", data, "-U", server.user, "--auth=scram-sha-256", f"--pwfile={password_file}", "-E", "UTF8", "--no-sync"
            ).wait(60)  # fmt: skip
            assert made == 0, log.read_text()
            password_file.unlink()
            process = start(
                postgres, "-D", data, "-p", str(server.port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
                "-c", f"unix_socket_directories={directory}",
            )  # fmt: skip
            try:
                wait_for(lambda: "ready to accept connections" in log.read_text(), _STARTING_SECONDS, log.read_text)
                yield server
            finally:
                process.send_signal(signal.SIGINT)  # ends the connections that are left, too
                process.wait(30)


def _owner() -> pwd.struct_passwd | None:
    """Whom the server runs as where we are root, as whom it refuses to run; None is ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError("no user to run the server as")


def _open_to_all() -> Path:
    """Where a user other than ours can work: TMPDIR may lie below a directory that only we may enter."""
    for place in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):
        if all(one.stat().st_mode & stat.S_IXOTH for one in (place, *place.parents)):
            return place
    raise AssertionError("no temporary directory that another user may enter")


def _child_of(owner: pwd.struct_passwd | None) -> Callable[[], None]:
    def prepare() -> None:
        if owner is not None:
            os.setgroups([])
            os.setgid(owner.pw_gid)
            os.setuid(owner.pw_uid)
        dies_with_us()  # last, as a change of user clears it

    return prepare
