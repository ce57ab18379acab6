"""A DSN, completed by a service file and the environment."""

import socket
from pathlib import Path

import pytest

from sql.dsn.dsn import Dsn, read_dsn
from sql.dsn.hosts import Host
from sql.dsn.password_file import UnusablePasswordFile
from sql.dsn.syntax import BadDatabaseUrl

SECRET = "hunter2"
SOCKETS = (Host("/var/run/postgresql", 5432), Host("/tmp", 5432))  # noqa: S108 - libpq's defaults


@pytest.mark.parametrize(
    ("dsn", "hosts"),
    [
        ("postgresql://h", (Host("h", 5432),)),
        ("postgres://my_db.example.:6543/x", (Host("my_db.example.", 6543),)),
        ("postgresql://h1:1,h2/x", (Host("h1", 1), Host("h2", 5432))),
        ("postgresql://10.0.0.1:5432,[::1]:7/x", (Host("10.0.0.1", 5432), Host("::1", 7))),
        ("postgresql:///x?host=h1,h2&port=7", (Host("h1", 7), Host("h2", 7))),
        ("postgresql://", SOCKETS),
        ("postgresql://h1,/x", (Host("h1", 5432), *SOCKETS)),
        ("postgresql://%2Frun%2Fpg:7/x", (Host("/run/pg", 7),)),
        ("postgresql:///x?host=/cloudsql/project:region:instance", (Host("/cloudsql/project:region:instance", 5432),)),
        ("host=h1,h2 port=,7", (Host("h1", 5432), Host("h2", 7))),
        ("host=fe80::1%eth0", (Host("fe80::1%eth0", 5432),)),
        ("host=h1,h2 hostaddr=10.0.0.1,", (Host("h1", 5432, "10.0.0.1"), Host("h2", 5432))),
        ("hostaddr=10.0.0.1", (Host("10.0.0.1", 5432, "10.0.0.1"),)),
    ],
)
def test_hosts_are_read_as_in_libpq(dsn: str, hosts: tuple[Host, ...]) -> None:
    assert read_dsn(dsn, {}).hosts == hosts


@pytest.mark.parametrize(
    ("dsn", "password"),
    [
        ("postgresql://u:[S3cret]@h/x", "[S3cret]"),
        ("postgresql://u:a?b#c＠d:e@h/x", "a?b#c＠d:e"),
        ("postgresql://u:p%40%2F%20s%C3%A9@h/x", "p@/ sé"),
        ("postgresql://u:a+b@h/x", "a+b"),
        ("postgresql://u@h/x?password=a%26b", "a&b"),
        (r"host=h user=u password='it\'s \\ it'", r"it's \ it"),
        ("postgresql://u:@h/x", None),
    ],
)
def test_passwords_are_read_as_psql_reads_them(dsn: str, password: str | None) -> None:
    assert read_dsn(dsn, {}).password == password


def test_the_environment_completes_a_dsn() -> None:
    environ = {"PGHOST": "other", "PGPORT": "7", "PGUSER": "ada", "PGPASSWORD": SECRET, "PGDATABASE": "data"}
    dsn = read_dsn("postgresql://h", {**environ, "PGSSLMODE": "require", "PGCONNECT_TIMEOUT": "10"})
    assert (dsn.hosts, dsn.user, dsn.database, dsn.password) == ((Host("h", 7),), "ada", "data", SECRET)
    assert (dsn.tls.mode, dsn.connect_seconds) == ("require", 10)
    dsn = read_dsn("postgresql://u:x@h:1/d?sslmode=disable", {**environ, "PGSSLMODE": "require"})
    assert (dsn.hosts, dsn.user, dsn.database, dsn.password) == ((Host("h", 1),), "u", "d", "x")
    assert dsn.tls.mode == "disable"


def test_errors_name_the_variable_of_a_value_from_the_environment() -> None:
    with pytest.raises(BadDatabaseUrl, match="PGSSLMODE must be disable, allow, prefer"):
        read_dsn("postgresql://u@h/d", {"PGSSLMODE": SECRET})
    with pytest.raises(BadDatabaseUrl, match="PGCHANNELBINDING must be prefer or disable, because"):
        read_dsn("postgresql://u@h/d", {"PGCHANNELBINDING": "require"})
    with pytest.raises(BadDatabaseUrl, match="PGPASSWORD must be UTF-8 text"):
        read_dsn("postgresql://u@h/d", {"PGPASSWORD": f"{SECRET}\udcff"})


@pytest.fixture
def service_file(tmp_path: Path) -> Path:
    """A service file with two services."""
    file = tmp_path / "pg_service.conf"
    file.write_text(
        f"# services\n[other]\nhost=wrong\n\n[data]\nhost=db.example\nport=7\nuser=ada\npassword={SECRET}\n[last]\n"
    )
    return file


def test_a_service_completes_a_dsn(service_file: Path) -> None:
    environ = {"PGSERVICEFILE": str(service_file), "PGHOST": "unused"}
    dsn = read_dsn("postgresql:///d?service=data", environ)
    assert (dsn.hosts, dsn.user, dsn.database, dsn.password) == ((Host("db.example", 7),), "ada", "d", SECRET)
    dsn = read_dsn("postgresql://u@h/d", {**environ, "PGSERVICE": "data"})
    assert (dsn.hosts, dsn.user) == ((Host("h", 7),), "u")


def test_errors_name_the_service_file(service_file: Path, tmp_path: Path) -> None:
    with pytest.raises(BadDatabaseUrl, match=f"no service file defines. Looked in {service_file}"):
        read_dsn("service=gone", {"PGSERVICEFILE": str(service_file)})
    with pytest.raises(BadDatabaseUrl, match=r"no service file defines\. Looked in no file"):
        read_dsn("service=gone", {})
    with pytest.raises(BadDatabaseUrl, match=f"cannot read the service file {tmp_path}: Is a directory"):
        read_dsn("service=gone", {"PGSERVICEFILE": str(tmp_path)})
    service_file.write_text(f"[data]\nhost=h\n{SECRET}\n")
    with pytest.raises(BadDatabaseUrl, match=f"cannot use line 3 of the service file {service_file}"):
        read_dsn("service=data", {"PGSERVICEFILE": str(service_file)})
    service_file.write_text("[data]\nsslmode=no-verify\nuser=u\n")
    with pytest.raises(BadDatabaseUrl, match=f"sslmode in {service_file} must be"):
        read_dsn("service=data", {"PGSERVICEFILE": str(service_file)})


def _with_password_file(file: Path, text: str, mode: int = 0o600) -> Dsn:
    file.write_text(text)
    file.chmod(mode)
    return read_dsn(f"postgresql://ada@h/data?passfile={file}", {})


def test_the_password_file_gives_the_password_of_each_host(tmp_path: Path) -> None:
    lines = ["# hosts", "g:*:*:*:no", "h:5432:data:ada:a\\:b\\\\c", "other:*:data:*:second", "localhost:*:*:*:socket"]
    dsn = _with_password_file(tmp_path / "pgpass", "\n".join(lines))
    assert dsn.password_for(Host("h", 5432)) == r"a:b\c"
    assert dsn.password_for(Host("other", 1)) == "second"
    assert dsn.password_for(Host("/run/postgresql", 1)) == "socket"
    assert dsn.password_for(Host("h", 1)) is None


@pytest.mark.parametrize(("mode", "reason"), [(0o644, "can be read by other users"), (0o600, "Line 1 is not UTF-8")])
def test_a_password_file_that_cannot_be_used_is_named(tmp_path: Path, mode: int, reason: str) -> None:
    file = tmp_path / "pgpass"
    dsn = _with_password_file(file, "", mode)
    file.write_bytes(b"\xff\n")
    with pytest.raises(UnusablePasswordFile, match=f"{file}:? {reason}"):
        dsn.password_for(Host("h", 5432))
    file.unlink()
    with pytest.raises(UnusablePasswordFile, match=f"{file}: No such file"):
        dsn.password_for(Host("h", 5432))


def test_no_repr_contains_a_password() -> None:
    dsn = f"postgresql://u:{SECRET}@h/d?sslpassword={SECRET}&options=-c%20x%3D{SECRET}"
    assert SECRET not in repr(read_dsn(dsn, {}))


def test_idle_connections_are_kept_alive_as_the_dsn_says() -> None:
    """Firewalls of clouds forget idle connections after 240 to 350 seconds."""
    idle, interval, count = socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT

    def options(dsn: str) -> dict[int, int]:
        found = read_dsn(dsn, {}).socket_options
        return {option: value for level, option, value in found if level != socket.SOL_SOCKET}

    assert options("postgresql://u@h/db") == {idle: 60, interval: 15, count: 4}
    assert options("postgresql://u@h/db?keepalives_idle=9&keepalives_count=0") == {idle: 9, interval: 15}
    assert options("postgresql://u@h/db?keepalives=0") == {}
