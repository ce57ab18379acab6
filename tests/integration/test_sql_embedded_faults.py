"""The embedded server after kills and crashes, on full disks, and in folders with other contents."""

import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sql.embedded import keeper
from sql.embedded.binaries import find_binaries
from sql.embedded.server import EmbeddedServer, EmbeddedServerFailed
from tests.database import SYSTEM_BINARIES, UNSAFE
from tests.integration.servers import AS_ROOT, User, disk, ended, fetch_value, home, keeper_of, postmaster, wait_until

pytestmark = pytest.mark.faults

__all__ = ["home"]

STRANGER = 1
"""Debian's user `daemon`, which is unrelated to the server."""


def fingerprint(folder: Path) -> dict[str, tuple[int, float, str]]:
    """Return a fingerprint that changes if anything in a folder is modified."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.stat().st_mtime,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in folder.rglob("*")
    }


def temporary_folders_of(home: Path) -> list[Path]:
    """Return the temporary folders that belong to a home."""
    found = []
    for record in Path(tempfile.gettempdir()).glob("sitelatch-*/home"):
        with contextlib.suppress(OSError):  # other tests' folders may vanish
            if record.read_text() == str(home):
                found.append(record.parent)
    return found


@contextlib.contextmanager
def as_stranger() -> Iterator[None]:
    """Access files as another user."""
    os.setegid(STRANGER)
    os.seteuid(STRANGER)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


# Kills.


def test_a_killed_server_is_restarted_with_all_committed_data(home: Path) -> None:
    with contextlib.closing(EmbeddedServer.open(home)) as server:
        assert not server.restart_if_dead()
        fetch_value(server.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
        os.kill(postmaster(home), signal.SIGKILL)
        wait_until(lambda: keeper.is_free(home, "server"))
        assert server.restart_if_dead()
        assert fetch_value(server.dsn, "SELECT answer FROM kept") == 42
        assert not server.restart_if_dead()
    assert ended(home)
    assert not server.restart_if_dead(), "it is no longer in use"


def test_a_killed_keeper_is_replaced_and_still_stops_the_server(
    home: Path,
) -> None:
    user = User(home)
    with contextlib.closing(EmbeddedServer.open(home, UNSAFE)) as server:
        assert user.dsn() == server.dsn
        os.kill(keeper_of(home), signal.SIGKILL)
        wait_until(lambda: keeper.is_free(home, "keeper"))
        assert not server.restart_if_dead()
        assert keeper_of(home)
        server.close()
    user.kill()
    wait_until(lambda: ended(home))


def test_a_keeper_killed_during_close_is_replaced(home: Path) -> None:
    server = EmbeddedServer.open(home, UNSAFE)
    keeper_pid = keeper_of(home)
    os.kill(keeper_pid, signal.SIGSTOP)
    wait_until(lambda: ") T " in Path(f"/proc/{keeper_pid}/stat").read_text())
    closing = threading.Thread(target=server.close)
    closing.start()
    # A process that closes the server now waits for this keeper.
    wait_until(lambda: keeper.is_free(home, "users"))
    time.sleep(0.2)
    os.kill(keeper_pid, signal.SIGKILL)
    closing.join(60)
    assert not closing.is_alive()
    assert keeper.is_free(home, "server")


@pytest.mark.parametrize("moment", [0.05, 0.2, 0.5, 1.0])
def test_a_first_start_that_was_killed_is_repeated(home: Path, moment: float) -> None:
    user = User(home)
    wait_until(lambda: (home / "start.lock").exists())
    time.sleep(moment)
    user.kill()
    with contextlib.closing(EmbeddedServer.open(home, UNSAFE)) as server:
        assert fetch_value(server.dsn, "SELECT 1") == 1
        assert not (home / "data.new").exists()
    assert ended(home)


def test_random_kills_never_break_the_next_start_or_leave_processes_behind(home: Path) -> None:
    """Users start and stop, and a user, the keeper or the server is killed, in random order."""
    chance = random.Random(7)
    kept = EmbeddedServer.open(home)
    fetch_value(kept.dsn, "CREATE TABLE counted (n int)")
    kept.close()
    users: list[User] = []
    committed = 0
    for _ in range(12):
        users.append(User(home))
        dsn = users[-1].dsn()
        assert fetch_value(dsn, "INSERT INTO counted VALUES (1) RETURNING n") == 1
        committed += 1
        for deed in chance.sample(["user", "keeper", "server", "leave", "nothing"], 2):
            if deed == "user" and users:
                users.pop(chance.randrange(len(users))).kill()
            elif deed == "leave" and users:
                users.pop(chance.randrange(len(users))).leave()
            elif deed in ("keeper", "server"):
                with contextlib.suppress(AssertionError, ProcessLookupError):
                    os.kill({"keeper": keeper_of, "server": postmaster}[deed](home), signal.SIGKILL)
    for user in users:
        user.kill()
    # The last keeper may have been killed. The next user cleans up.
    with contextlib.closing(EmbeddedServer.open(home)) as server:
        assert fetch_value(server.dsn, "SELECT count(*) FROM counted") == committed
    assert ended(home)


# Other users.


@pytest.mark.skipif(not AS_ROOT, reason="needs another user")
def test_other_users_of_the_machine_cannot_read_use_or_disturb_the_server(tmp_path: Path) -> None:
    top = Path("/tmp") / f"sitelatch-test-{os.getpid()}"  # noqa: S108 - the test needs a folder that others can enter
    top.mkdir(mode=0o755)
    place = top / "postgres"
    try:
        with contextlib.closing(EmbeddedServer.open(place, UNSAFE)) as server:
            readable, writable = (
                subprocess.run(
                    ["find", place, "-not", "-path", f"{place}/binaries*", test],
                    user=STRANGER,
                    group=STRANGER,
                    extra_groups=[],
                    capture_output=True,
                    text=True,
                    check=False,
                ).stdout
                for test in ("-readable", "-writable")
            )
            assert (readable, writable) == ("", "")
            with as_stranger():
                for name in ("start.lock", "users.lock", "keeper.lock", "server.lock", "server.log", "data", "socket"):
                    with pytest.raises(PermissionError):
                        os.open(place / name, os.O_RDONLY)
                with pytest.raises(EmbeddedServerFailed, match="cannot be used: Permission denied"):
                    EmbeddedServer.open(place)
            assert fetch_value(server.dsn, "SELECT 1") == 1
    finally:
        shutil.rmtree(top)


# Folders with other contents.


@pytest.mark.parametrize("version", [*sorted(SYSTEM_BINARIES), 16])
def test_data_from_another_postgresql_version_is_refused_with_instructions(home: Path, version: int) -> None:
    if version in SYSTEM_BINARIES:
        EmbeddedServer.open(home, UNSAFE, SYSTEM_BINARIES[version]).close()
    else:
        (home / "data").mkdir(parents=True)
        (home / "data" / "PG_VERSION").write_text(f"{version}\n")
        (home / "data" / "postmaster.pid").write_text("1\n")
    before = fingerprint(home / "data")
    with pytest.raises(
        EmbeddedServerFailed,
        match=f"created by PostgreSQL {version} and cannot be read by the installed version 18.* pg_dump",
    ):
        EmbeddedServer.open(home)
    assert fingerprint(home / "data") == before
    wait_until(lambda: ended(home))
    if version in SYSTEM_BINARIES:
        with contextlib.closing(EmbeddedServer.open(home, UNSAFE, SYSTEM_BINARIES[version])) as server:
            assert fetch_value(server.dsn, "SELECT 1") == 1


def test_a_server_started_manually_on_the_same_data_is_left_alone(home: Path) -> None:
    with contextlib.closing(EmbeddedServer.open(home, UNSAFE)) as server:
        fetch_value(server.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    data = home / "data"
    owner = data.stat().st_uid
    binaries = find_binaries()
    # Through a descriptor, because another user cannot reach pytest's folders by path.
    folder = os.open(data, os.O_RDONLY)
    inside = ("-c", "listen_addresses=", "-c", "unix_socket_directories=.")
    by_hand = subprocess.Popen(
        [binaries.bin / "postgres", "-D", f"/proc/self/fd/{folder}", *inside],
        user=owner if AS_ROOT else None,
        pass_fds=(folder,),
        stderr=subprocess.DEVNULL,
    )
    os.close(folder)
    try:
        wait_until(lambda: (data / "postmaster.pid").is_file() and "ready" in (data / "postmaster.pid").read_text())
        with pytest.raises(
            EmbeddedServerFailed, match=f"another PostgreSQL server, process {by_hand.pid}, is running on"
        ):
            EmbeddedServer.open(home)
        assert (data / "postmaster.pid").is_file()
        wait_until(lambda: keeper.is_free(home, "keeper"))
        assert by_hand.poll() is None
    finally:
        by_hand.send_signal(signal.SIGINT)
        by_hand.wait(60)
    with contextlib.closing(EmbeddedServer.open(home, UNSAFE)) as server:
        assert fetch_value(server.dsn, "SELECT answer FROM kept") == 42


def test_a_folder_with_other_contents_is_refused_and_left_untouched(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "binaries").mkdir(parents=True)
    (project / "binaries" / "precious").write_text("kept")
    before = fingerprint(project)
    with pytest.raises(EmbeddedServerFailed, match="is neither empty nor a database: choose a new one"):
        EmbeddedServer.open(project)
    assert fingerprint(project) == before
    (project / "data").mkdir()
    before = fingerprint(project / "binaries")
    with pytest.raises(
        EmbeddedServerFailed, match=r"data exists and does not contain a PostgreSQL database; .*Choose another"
    ):
        EmbeddedServer.open(project)
    wait_until(lambda: keeper.is_free(project, "keeper"))
    assert fingerprint(project / "binaries") == before


# A full disk.


def test_a_disk_too_small_for_a_new_database_is_named_in_the_error(tmp_path: Path) -> None:
    for size in ("4m", "20m", "30m"):
        with disk(tmp_path / size, size) as small:
            place = small.folder / "postgres"
            with pytest.raises(EmbeddedServerFailed, match=r"the disk of .* is full"):
                EmbeddedServer.open(place)
            assert not (place / "data").exists()
            small.resize("200m")
            with contextlib.closing(EmbeddedServer.open(place, UNSAFE)) as server:
                assert fetch_value(server.dsn, "SELECT 1") == 1


def test_a_server_on_a_full_disk_fails_clearly_and_starts_once_there_is_space(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "120m") as full:
        place = full.folder / "postgres"
        with contextlib.closing(EmbeddedServer.open(place)) as server:
            fetch_value(server.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
        full.fill()
        with pytest.raises(EmbeddedServerFailed, match=r"the disk of .* is full|No space left on device"):
            EmbeddedServer.open(place)
        wait_until(lambda: ended(place))
        assert not temporary_folders_of(place), "no temporary folder is left behind"
        full.free()
        with contextlib.closing(EmbeddedServer.open(place)) as server:
            assert fetch_value(server.dsn, "SELECT answer FROM kept") == 42
