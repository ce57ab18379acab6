"""DSNs that people use: the messages of the commands and of `serve`, which never contain a password."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.acceptance.certificates import Authority
from tests.acceptance.database_tap import tapped
from tests.acceptance.harness import Sitelatch, Table, toml
from tests.acceptance.shell import sitelatch
from tests.integration.servers import wait_until

SECRET = "S3cret-Passw0rd"
NOWHERE = "127.0.0.1:1"
ROUTE: Table = {"name": "data", "upstream": "http://127.0.0.1:1", "without_site": "any-key"}

AS_STRANGER = ("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups")

COMMANDS = [
    ("check-config",),
    ("migrate",),
    ("sites", "list"),
    ("users", "list", "--json"),
    ("audit",),
    ("usage",),
    ("explain", "--user", "9e7a1f3c-0000-4000-8000-000000000000", "GET", "/"),
]
DSNS = [
    f"postgresql://sitelatch:[{SECRET}]@{NOWHERE}/db",
    f"postgresql://sitelatch:{SECRET}＠@{NOWHERE}/db",
    f"postgresql://sitelatch:a?b#{SECRET}@{NOWHERE}/db",
    f"postgresql://sitelatch:x@{SECRET}@{NOWHERE}/db",
    f"postgresql://sitelatch:1/{SECRET}@{NOWHERE}/db",
    f"postgresql://sitelatch:{SECRET}@no-such-host.invalid/db",
    f"postgresql://sitelatch:{SECRET}@/db?host=/no/such/directory",
    f"postgresql://sitelatch@{NOWHERE}/db?password={SECRET}&{SECRET}",
    f"postgresql://sitelatch@{NOWHERE}/db?sslmode={SECRET}",
    f"host=127.0.0.1 port=1 user=sitelatch password='{SECRET}'",
    f"host=127.0.0.1 port=1 user=sitelatch password=x {SECRET}",
]


def write_config(folder: Path, dsn: str) -> Path:
    file = folder / "sitelatch.toml"
    file.write_text(toml({"proxy": {"routes": [ROUTE]}, "database": {"url": dsn}}))
    return file


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Sitelatch]:
    """A `serve` process that the test starts."""
    latch = Sitelatch(tmp_path, "", [ROUTE])
    yield latch
    latch.stop()


@pytest.mark.parametrize("dsn", DSNS)
def test_no_command_shows_a_password_or_a_traceback(tmp_path: Path, dsn: str) -> None:
    file = write_config(tmp_path, dsn)
    for words in COMMANDS:
        done = sitelatch(*words, "--config", str(file))
        assert SECRET not in done.out + done.err
        assert "Traceback" not in done.err
        assert done.code in (1, 2, 3) or words == ("check-config",)
        assert all(line["event"] in ("bad_config", "database_unreachable") for line in done.log)


async def test_a_command_says_that_the_database_is_read_only(tmp_path: Path, dsn: str, pool: asyncpg.Pool) -> None:
    await pool.execute(f"ALTER DATABASE {urlsplit(dsn).path[1:]} SET default_transaction_read_only = on")
    words = ("sites", "add", "--config", str(write_config(tmp_path, dsn)), "--workspace", "acme", "shop")
    done = await asyncio.to_thread(sitelatch, *words)
    assert done.code == 1
    (line,) = (line for line in done.log if line["level"] == "error")
    assert line["event"] == "database_read_only"
    assert "target_session_attrs=read-write" in line["reason"]


@pytest.mark.parametrize("dsn", DSNS[:2])
def test_serve_says_why_the_database_is_unreachable_without_a_password(launch: Sitelatch, dsn: str) -> None:
    launch.tables["database"] = {"url": dsn}
    launch.launch()
    launch.wait_for_readiness(503)
    down = launch.wait_for_log("database_down")
    assert down["reason"] == f"{NOWHERE.replace(':', ' port ')}: Connection refused"
    assert SECRET not in launch.output.read_text()


@pytest.fixture
def closed_home(tmp_path: Path) -> Path:
    """A home directory that only its owner may open."""
    home = tmp_path / "home"
    (home / ".postgresql").mkdir(parents=True)
    (home / ".pgpass").write_text(f"*:*:*:*:{SECRET}\n")
    home.chmod(0o700)
    return home


@pytest.fixture
def stranger() -> Iterator[Sitelatch]:
    """A `serve` process that the test starts as a user without a name."""
    if os.geteuid() != 0:
        pytest.skip("running as another user needs root")
    if subprocess.run([*AS_STRANGER, sys.executable, "-c", "import sitelatch.command"], check=False).returncode != 0:
        pytest.skip("other users may not read the program here")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        latch = Sitelatch(Path(folder), "", [ROUTE])
        yield latch
        latch.stop()


def launch_as_stranger(latch: Sitelatch, home: Path, url: str) -> None:
    latch.tables["database"] = {"url": url}
    latch.launch_alone(*AS_STRANGER, environ={"HOME": str(home)})


def test_serve_is_ready_although_it_may_not_read_its_home_directory(
    stranger: Sitelatch, closed_home: Path, database_url: str
) -> None:
    with tapped(database_url) as tap:
        launch_as_stranger(stranger, closed_home, tap.url)
        stranger.wait_for_readiness(200)


def test_a_dsn_without_a_user_is_refused_if_the_process_has_no_name(stranger: Sitelatch, closed_home: Path) -> None:
    launch_as_stranger(stranger, closed_home, f"postgresql://{NOWHERE}/db")
    assert stranger.wait() == 2
    [line] = stranger.log_lines()
    assert line["event"] == "bad_config"
    assert (
        "[database] url: names no user, and the operating system has no name for the user id 12345. Write the user"
        in line["complaint"]
    )


def test_a_missing_certificate_is_named_and_serve_recovers_once_it_exists(tmp_path: Path, launch: Sitelatch) -> None:
    file = tmp_path / "root.crt"
    url = f"postgresql://u:{SECRET}@{NOWHERE}/db?sslmode=verify-full&sslrootcert={file}"
    done = sitelatch("check-config", "--config", str(write_config(tmp_path, url)))
    assert done.code == 2
    reason = f"sslrootcert {file}: No such file or directory"
    assert done.log[0]["complaint"].endswith(f"sitelatch.toml:5: [database] url: {reason}.")
    assert sitelatch("migrate", "--config", str(write_config(tmp_path, url))).log[0]["reason"] == reason

    launch.tables["database"] = {"url": url}
    launch.launch()
    launch.wait_for_readiness(503)
    assert launch.wait_for_log("database_down")["reason"] == reason
    Authority(tmp_path, "root")
    (tmp_path / "root.pem").rename(file)
    refused = f"{NOWHERE.replace(':', ' port ')}: Connection refused"
    wait_until(lambda: any(line.get("reason") == refused for line in launch.log_lines()))


def test_the_log_says_why_the_admin_database_is_unreachable(
    launch: Sitelatch, database_url: str, tmp_path: Path
) -> None:
    """The front door and the admin API can use different DSNs."""
    url = f"postgresql://admin:{SECRET}@{NOWHERE}/db?sslmode=verify-full&sslrootcert={tmp_path}/gone.crt"
    launch.tables["database"] = {"url": database_url}
    launch.tables["admin"] = {**launch.tables["admin"], "database_url": url}
    launch.start()
    with launch.admin_client() as admin:
        response = admin.get("/users")
    assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")
    reason = f"sslrootcert {tmp_path}/gone.crt: No such file or directory"
    wait_until(lambda: any(line.get("reason") == reason for line in launch.log_lines()))
    assert SECRET not in launch.output.read_text() + response.text


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("channel_binding=require", "channel_binding must be prefer or disable, because the database driver does not"),
        ("require_auth=scram-sha-256", "require_auth is not possible: the database driver accepts any authentication"),
        ("sslmode=no-verify", "sslmode must be disable, allow, prefer, require, verify-ca or verify-full. If the DSN"),
        ("sslmode=verify-full", "sslmode=verify-full needs the certificate of the authority. Set sslrootcert to its"),
        ("sslmode=require&sslrootcert=system", "sslmode must be verify-full with sslrootcert=system, because anyone"),
        ("geqo=off", '"geqo" is not an option of PostgreSQL. Remove it. A setting of the'),
        ("gssencmode=require", "gssencmode must be prefer or disable, because Sitelatch does not use GSSAPI"),
    ],
)
def test_an_option_that_cannot_be_honored_is_refused_by_name(tmp_path: Path, query: str, complaint: str) -> None:
    file = write_config(tmp_path, f"postgresql://u:{SECRET}@{NOWHERE}/db?{query}")
    done = sitelatch("check-config", "--config", str(file), environ={"HOME": str(tmp_path)})
    assert done.code == 2
    assert [f"sitelatch.toml:5: [database] url: {complaint}" in line["complaint"] for line in done.log] == [True]


def test_options_that_change_nothing_are_ignored_with_a_warning(launch: Sitelatch, database_url: str) -> None:
    with tapped(database_url) as tap:
        ignored = "pgbouncer=true&schema=public&connection_limit=1&statement_cache_size=100"
        honored = "connect_timeout=10&gssencmode=disable&keepalives=1&keepalives_idle=30&application_name=latch"
        launch.tables["database"] = {"url": f"{tap.url}?{ignored}&{honored}"}
        launch.start()
        done = sitelatch("check-config", "--config", str(launch.config))
    assert done.code == 0
    warned = [line.split(": ")[3] for line in done.err.splitlines()]
    assert warned == [f"{name.partition('=')[0]} is ignored" for name in ignored.split("&")]
