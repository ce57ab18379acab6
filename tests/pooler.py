"""PgBouncer in transaction mode, in front of its own PostgreSQL server with the three roles of Sitelatch."""

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import sql
from sql.embedded import keeper
from sql.embedded.binaries import find_binaries
from sql.embedded.launch import ServerUser
from sql.embedded.server import EmbeddedServer
from sql.migrate import migrate
from sql.pool import open_connection
from tests.database import UNSAFE, as_role, create_database, data_directory, run_aside
from tests.ports import free_port

# Debian installs daemons in directories that are only in root's PATH.
PROGRAM = shutil.which("pgbouncer", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))
PASSWORD = "hunter2-%/@:?#"
LOGINS = ("postgres", "sitelatch_owner", "sitelatch_admin", "sitelatch_doors")
ROLES = (Path(sql.__file__).parent / "roles.sql").read_text()
START_SECONDS = 30.0


def version() -> tuple[int, ...]:
    """Return the version of the installed PgBouncer."""
    assert PROGRAM is not None, "The pooler tests need PgBouncer: run apt-get install pgbouncer, or add it to PATH."
    output = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"PgBouncer (\d+)\.(\d+)", output)
    assert found is not None, output
    return tuple(map(int, found.groups()))


class PgBouncer:
    """One `pgbouncer` process, which runs as a user that may use the server's socket. Clients log in over TCP."""

    def __init__(self, folder: Path, server_dsn: str, user: ServerUser, **settings: object) -> None:
        self.port = free_port()
        self._folder = folder
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._server = parse_qs(urlsplit(server_dsn).query)
        self.settings: dict[str, object] = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": folder / "users.txt",
            "admin_users": "postgres",
            "pool_mode": "transaction",
            "logfile": folder / "pgbouncer.log",
            **settings,
        }
        (folder / "users.txt").write_text("".join(f'"{login}" "{PASSWORD}"\n' for login in LOGINS))
        if user.uid is not None:
            os.chown(folder, user.uid, user.gid or -1)

    def dsn(self, login: str, database: str) -> str:
        """Return the URL of a database through the pooler, for a role."""
        return f"postgresql://{login}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the process, and wait until it accepts connections."""
        assert PROGRAM is not None, "The pooler tests need PgBouncer: run apt-get install pgbouncer."
        host, port = self._server["host"][0], self._server["port"][0]
        lines = ["[databases]", f"* = host={host} port={port}", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in self.settings.items()]
        config = self._folder / "pgbouncer.ini"
        config.write_text("\n".join(lines) + "\n")
        # PgBouncer refuses to run as root. With -q, it writes only to its log file.
        self._process = subprocess.Popen(
            [PROGRAM, "-q", config],
            user=self._user.uid,
            group=self._user.gid,
            extra_groups=[] if self._user.uid else None,
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            assert self._process.poll() is None, f"pgbouncer exited:\n{self.log()}"
            assert time.monotonic() < deadline, f"pgbouncer does not listen:\n{self.log()}"
            time.sleep(0.02)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except ConnectionRefusedError:
            return False
        return True

    def stop(self, kind: signal.Signals = signal.SIGKILL) -> None:
        """Stop the process. SIGKILL and SIGTERM disconnect the clients."""
        if self._process is not None:
            self._process.send_signal(kind)
            self._process.wait(START_SECONDS)
            self._process = None

    def signal(self, kind: signal.Signals) -> None:
        """Send a signal to the process without waiting."""
        assert self._process is not None
        self._process.send_signal(kind)

    def log(self) -> str:
        """Return the end of the log file."""
        file = self._folder / "pgbouncer.log"
        return file.read_text()[-4000:] if file.is_file() else ""

    def run_command(self, command: str) -> list[dict[str, str]]:
        """Run a command such as `SHOW POOLS` in the admin console, and return the rows."""
        psql = find_binaries().bin / "psql"
        done = subprocess.run(
            [psql, "--csv", "-d", self.dsn("postgres", "pgbouncer"), "-c", command],
            capture_output=True,
            text=True,
            check=True,
        )
        header, *rows = [line.split(",") for line in done.stdout.splitlines()] or [[]]
        return [dict(zip(header, row, strict=False)) for row in rows]


class PooledServer:
    """A PostgreSQL server that PgBouncer's user may connect to as each of the roles."""

    def __init__(self, folder: Path) -> None:
        home = data_directory(folder)
        self._server = EmbeddedServer.open(home, UNSAFE)
        self.dsn = self._server.dsn
        self.home = home
        self.user = ServerUser.of(home)
        # With peer authentication, the kernel reports the user. This map lets that user log in as each role.
        name = pwd.getpwuid(os.geteuid() if self.user.uid is None else self.user.uid).pw_name
        with (home / "data" / "pg_ident.conf").open("a") as idents:
            idents.write("".join(f'sitelatch "{name}" {login}\n' for login in LOGINS))
        run_aside(self._prepare())

    async def _prepare(self) -> None:
        server = await open_connection(self.dsn, role="tests")
        await server.execute("SELECT pg_reload_conf()")
        await server.execute(ROLES)
        await server.close()

    def create_database(self) -> str:
        """Create an empty database that the roles may use, and return a superuser's DSN that bypasses the pooler."""

        async def create() -> str:
            dsn = await create_database(self.dsn, "template0")
            superuser = await open_connection(dsn, role="tests")
            await superuser.execute(ROLES)
            await superuser.close()
            return dsn

        return run_aside(create())

    def create_migrated(self) -> str:
        """Create a database that its owner has migrated, and return a superuser's DSN that bypasses the pooler."""

        async def migrate_as_owner(dsn: str) -> str:
            owner = await open_connection(as_role(dsn, "sitelatch_owner"), role="tests")
            await migrate(owner)
            await owner.close()
            return dsn

        return run_aside(migrate_as_owner(self.create_database()))

    @contextmanager
    def pooler(self, **settings: object) -> Iterator[PgBouncer]:
        """Run a PgBouncer in front of the server."""
        # Other users have no access to the directories of pytest.
        with tempfile.TemporaryDirectory(prefix="sitelatch-pgbouncer-", ignore_cleanup_errors=True) as folder:
            pooler = PgBouncer(Path(folder), self.dsn, self.user, **settings)
            pooler.start()
            try:
                yield pooler
            finally:
                pooler.stop()

    def stop(self) -> None:
        """Stop the server. Its clients are disconnected."""
        keeper.end_server(self.home)

    def start(self) -> None:
        """Start the server again with the same data and socket."""
        restarted = EmbeddedServer.open(self.home, UNSAFE)
        self._server.close()
        self._server = restarted

    def close(self) -> None:
        """Stop the server for good."""
        self._server.close()


def database_name(dsn: str) -> str:
    """Return the database name in a DSN."""
    return urlsplit(dsn).path[1:]
