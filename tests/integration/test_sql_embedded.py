"""The embedded server: shared by processes, stopped after the last one, and inaccessible to other users."""

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from sql.database import resolve
from sql.dsn.dsn import read_dsn
from sql.embedded import keeper
from sql.embedded.binaries import ServerBinariesMissing, find_binaries
from sql.embedded.server import EmbeddedServer, EmbeddedServerFailed
from sql.pool import open_connection
from sql.settings import DatabaseSettings
from tests.database import UNSAFE
from tests.integration.servers import AS_ROOT, User, ended, fetch_value, home, keeper_of, postmaster, wait_until

__all__ = ["home"]


def test_the_server_stops_with_the_last_process_that_uses_it(home: Path) -> None:
    first = User(home)
    assert fetch_value(first.dsn(), "SELECT 1") == 1
    server = EmbeddedServer.open(home)
    first.leave()
    assert fetch_value(server.dsn, "SELECT 1") == 1
    server.close()
    assert keeper.is_free(home, "server")
    server.close()


def test_processes_that_start_at_the_same_time_share_one_server(home: Path) -> None:
    users = [User(home) for _ in range(3)]
    try:
        started = {fetch_value(user.dsn(), "SELECT pg_postmaster_start_time()") for user in users}
        assert len(started) == 1
    finally:
        for user in users:
            user.leave()
    assert keeper.is_free(home, "server")


def test_the_server_stops_when_its_last_user_is_killed(home: Path) -> None:
    users = [User(home), User(home)]
    dsns = [user.dsn() for user in users]
    users[0].kill()
    assert fetch_value(dsns[1], "SELECT 1") == 1
    users[1].kill()
    wait_until(lambda: ended(home))


def test_committed_data_survives_killing_everything(home: Path) -> None:
    user = User(home)
    dsn = user.dsn()
    fetch_value(dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    os.kill(keeper_of(home), signal.SIGKILL)
    user.kill()
    os.kill(postmaster(home), signal.SIGKILL)
    wait_until(lambda: ended(home))
    # Another process now has the id that the dead server left in its file.
    pid_file = home / "data" / "postmaster.pid"
    assert pid_file.is_file()
    pid_file.write_text("\n".join([str(os.getpid()), *pid_file.read_text().splitlines()[1:]]))
    with contextlib.closing(EmbeddedServer.open(home, UNSAFE)) as server:
        assert fetch_value(server.dsn, "SELECT answer FROM kept") == 42


def test_a_server_without_a_keeper_gets_a_new_one(home: Path) -> None:
    user = User(home)
    started = fetch_value(user.dsn(), "SELECT pg_postmaster_start_time()")
    os.kill(keeper_of(home), signal.SIGKILL)
    user.kill()
    with contextlib.closing(EmbeddedServer.open(home)) as server:
        assert fetch_value(server.dsn, "SELECT pg_postmaster_start_time()") == started
    assert keeper.is_free(home, "server")


def test_a_dead_server_is_restarted_by_the_next_user(home: Path) -> None:
    with contextlib.closing(EmbeddedServer.open(home, UNSAFE)) as first:
        os.kill(postmaster(home), signal.SIGKILL)
        wait_until(lambda: keeper.is_free(home, "server"))
        with contextlib.closing(EmbeddedServer.open(home, UNSAFE)) as second:
            assert fetch_value(second.dsn, "SELECT 1") == fetch_value(first.dsn, "SELECT 1")
    assert keeper.is_free(home, "server")


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(home: Path) -> None:
    with contextlib.closing(EmbeddedServer.open(home, UNSAFE)):
        for pid in (postmaster(home), keeper_of(home)):
            assert os.getsid(pid) != os.getsid(0)
            assert os.getpgid(pid) != os.getpgid(0)


def test_the_server_listens_only_on_a_socket_in_a_private_folder(home: Path) -> None:
    with contextlib.closing(EmbeddedServer.open(home, UNSAFE)) as server:
        assert fetch_value(server.dsn, "SHOW listen_addresses") == ""
        found = keeper.read_postmaster(home)
        assert found is not None
        for folder in (Path(found.socket_folder), home / "data"):
            assert folder.stat().st_mode & 0o777 == 0o700
        assert fetch_value(server.dsn, "SELECT string_agg(DISTINCT auth_method, ' ') FROM pg_hba_file_rules") == "peer"
        # Tests turn it off; by default it is on.
        assert fetch_value(server.dsn, "SHOW fsync") == "off"


@pytest.mark.skipif(not AS_ROOT, reason="needs another user's process")
def test_other_users_of_the_machine_cannot_connect(tmp_path: Path) -> None:
    binaries = find_binaries()
    psql = binaries.bin / "psql"
    with contextlib.closing(EmbeddedServer.open(tmp_path / "postgres", UNSAFE)) as server:
        found = keeper.read_postmaster(tmp_path / "postgres")
        assert found is not None
        # The server's own user can reach the socket. Other users cannot even do that.
        for name, error in (("nobody", "Peer authentication failed"), ("daemon", "Permission denied")):
            done = subprocess.run(
                [psql, "-h", found.socket_folder, "-U", "postgres", "-c", "SELECT 1"],
                user=name,
                group=name if name == "daemon" else "nogroup",
                extra_groups=[],
                cwd="/",
                capture_output=True,
                text=True,
                check=False,
            )
            assert (done.returncode, error in done.stderr) == (2, True)
        assert fetch_value(server.dsn, "SELECT 1") == 1


@pytest.mark.parametrize("name", ["d" * 120, 'a folder, "it\'s" @100% #1', 'it\'s "a" folder @100% #1?'])
def test_a_server_runs_in_a_folder_with_a_long_or_unusual_path(name: str) -> None:
    # In a folder that others can enter, because for root the socket would otherwise be in another folder anyway.
    top = Path("/tmp") / f"sitelatch-test-{os.getpid()}"  # noqa: S108 - see above
    top.mkdir(mode=0o755)
    try:
        with contextlib.closing(EmbeddedServer.open(top / name / "postgres", UNSAFE)) as server:
            assert fetch_value(server.dsn, "SELECT 1") == 1
            found = keeper.read_postmaster(top / name / "postgres")
            assert found is not None
        assert not Path(found.socket_folder).exists() or Path(found.socket_folder).is_relative_to(top)
    finally:
        shutil.rmtree(top)


@pytest.mark.skipif(not AS_ROOT, reason="only root's server is another user's process")
def test_inside_a_private_folder_of_root_no_folder_is_made_accessible(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    before = private.stat()
    copies = find_binaries().copy_into(private)
    with contextlib.closing(EmbeddedServer.open(private / "postgres", UNSAFE, copies)) as server:
        assert fetch_value(server.dsn, "SELECT current_setting('data_directory') LIKE '/proc/self/fd/%'")
        outside = Path((private / "postgres" / "outside").read_text())
        assert outside.stat().st_mode & 0o777 == 0o711
    after = private.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert not outside.exists()


@pytest.mark.skipif(not AS_ROOT, reason="only root's server is another user's process")
def test_the_server_user_owns_only_the_data_and_socket_in_an_accessible_folder() -> None:
    top = Path("/tmp") / f"sitelatch-test-{os.getpid()}"  # noqa: S108 - the test needs a folder that others can enter
    top.mkdir(mode=0o755)
    private = top / "private"
    private.mkdir(mode=0o700)
    try:
        copies = find_binaries().copy_into(private)
        with contextlib.closing(EmbeddedServer.open(top / "postgres", UNSAFE, copies)) as server:
            assert fetch_value(server.dsn, "SHOW data_directory") == str(top / "postgres" / "data")
            owned = {path.name for path in (top / "postgres").iterdir() if path.stat().st_uid != 0}
            assert owned == {"data", "socket"}
            assert not (top / "postgres" / "outside").exists()
    finally:
        shutil.rmtree(top)


def test_closing_succeeds_after_the_folder_was_removed(home: Path) -> None:
    server = EmbeddedServer.open(home, UNSAFE)
    pid = postmaster(home)
    outside = keeper.find_outside(home)
    shutil.rmtree(home)
    server.close()
    os.kill(pid, signal.SIGQUIT)
    if outside is not None:
        shutil.rmtree(outside)


def test_a_failed_start_is_explained_and_leaves_nothing_behind(home: Path) -> None:
    with pytest.raises(EmbeddedServerFailed, match="shared_buffers"):
        EmbeddedServer.open(home, {"shared_buffers": "nonsense"})
    wait_until(lambda: ended(home))


def test_an_unusable_folder_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        EmbeddedServerFailed, match=f"the folder {tmp_path}/file/postgres cannot be used: Not a directory"
    ):
        EmbeddedServer.open(tmp_path / "file" / "postgres")


def test_without_the_extra_the_error_says_what_to_install() -> None:
    with pytest.raises(ServerBinariesMissing, match=r"install `sitelatch\[embedded\]`"):
        find_binaries("no_such_wheel")


async def test_database_settings_are_resolved(tmp_path: Path) -> None:
    url = "postgresql://user@host/db"
    assert await resolve(DatabaseSettings(url=url), tmp_path) == (read_dsn(url), None)
    with pytest.raises(ValueError, match="must be followed by a folder"):
        await resolve(DatabaseSettings(url="embedded:"), tmp_path)
    dsn, server = await resolve(DatabaseSettings(url="embedded:var/postgres"), tmp_path)
    assert server is not None
    try:
        connection = await open_connection(dsn, role="tests")
        assert await connection.fetchval("SHOW fsync") == "on"
        await connection.close()
        assert (tmp_path / "var" / "postgres" / "data").is_dir()
    finally:
        await server.stop()
    assert keeper.is_free(tmp_path / "var" / "postgres", "server")
