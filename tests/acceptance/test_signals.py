"""Signals to `serve`, at any moment of its start and while it serves."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.harness import REPOSITORY, START_SECONDS, Sitelatch
from tests.acceptance.wire import connect, until
from tests.ports import free_port

NEW_NAMESPACE = ("unshare", "-Urpf", "--kill-child")
"""Runs a program as the first process of a PID namespace, where signals without a handler have no effect."""


@pytest.fixture
def latch(tmp_path: Path, database_url: str) -> Iterator[Sitelatch]:
    route = {"name": "data", "upstream": f"http://127.0.0.1:{free_port()}", "sites": ["path:/{site}/**"]}
    latch = Sitelatch(tmp_path, database_url, [route])
    yield latch
    latch.stop()


def may_unshare() -> bool:
    return subprocess.run([*NEW_NAMESPACE, "true"], check=False, capture_output=True).returncode == 0


def first_process(latch: Sitelatch, prefix: tuple[str, ...]) -> int:
    """Return the process ID of `serve`, which is a child of the prefix."""
    if not prefix:
        return latch.pid
    children = Path(f"/proc/{latch.pid}/task/{latch.pid}/children")
    deadline = time.monotonic() + START_SECONDS
    while not (found := children.read_text().split()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return int(found[0])


def has_event_loop(process: int) -> bool:
    with contextlib.suppress(FileNotFoundError):  # it has ended
        return any("eventpoll" in os.readlink(link) for link in Path(f"/proc/{process}/fd").iterdir())
    return False


def open_once_read(fifo: Path) -> int:
    """Open a FIFO for writing as soon as a process reads it."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < deadline, "nobody reads the FIFO"
        time.sleep(0.01)


def is_reading(process: int, fifo: Path) -> bool:
    """Whether the process waits for bytes from the FIFO.

    Python runs a signal handler between two bytecodes, or when a signal interrupts a system call. A signal between the
    opening of the FIFO and the system call that reads it would be handled only after the read.
    """
    links = list(Path(f"/proc/{process}/fd").iterdir())
    with contextlib.suppress(FileNotFoundError):  # it has closed a file in the meantime
        opened = any(os.readlink(link) == str(fifo) for link in links)
        return opened and Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "S"
    return False


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not file.exists():
        assert time.monotonic() < deadline, f"{file.name} does not appear"
        time.sleep(0.01)


@pytest.mark.parametrize("prefix", [(), NEW_NAMESPACE], ids=["a process", "the first process of a container"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGQUIT"])
def test_a_signal_during_the_imports_stops_serve_with_0(latch: Sitelatch, prefix: tuple[str, ...], name: str) -> None:
    if prefix and not may_unshare():
        pytest.skip("this machine does not allow user namespaces")
    # asyncpg is the first of the slow imports.
    reached = latch.folder / "importing"
    (latch.folder / "asyncpg.py").write_text(
        f"import pathlib, time\npathlib.Path({str(reached)!r}).touch()\ntime.sleep(600)\n"
    )
    latch.launch_alone(*prefix, environ={"PYTHONPATH": f"{latch.folder}:{REPOSITORY}"})
    wait_for(reached)
    process = first_process(latch, prefix)
    os.kill(process, signal.SIGHUP)  # must not end it
    os.kill(process, signal.SIGUSR1)
    os.kill(process, signal.Signals[name])
    assert latch.wait() == 0
    assert latch.output.read_text() == ""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
async def test_a_signal_while_the_config_is_read_stops_serve_with_0(latch: Sitelatch, name: str) -> None:
    secret = latch.folder / "secret"
    os.mkfifo(secret)
    latch.launch_alone(environ={"SITELATCH_DATABASE__URL_FILE": str(secret)})
    writer = open_once_read(secret)
    await until(lambda: is_reading(latch.pid, secret), "serve reads the FIFO")
    latch.signal(signal.Signals[name])
    assert latch.wait() == 0
    os.close(writer)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_while_the_database_is_awaited_stops_serve_with_0(latch: Sitelatch, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        latch.tables["database"] = {"url": f"postgresql://a:b@127.0.0.1:{silent.getsockname()[1]}/c"}
        latch.launch_alone()
        silent.settimeout(START_SECONDS)
        connection, _ = silent.accept()
        latch.signal(signal.Signals[name])
        assert latch.wait() == 0
        connection.close()


@pytest.mark.parametrize("prefix", [(), NEW_NAMESPACE], ids=["a process", "the first process of a container"])
def test_sigterm_ends_other_commands_as_the_first_process_too(latch: Sitelatch, prefix: tuple[str, ...]) -> None:
    if prefix and not may_unshare():
        pytest.skip("this machine does not allow user namespaces")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        latch.tables["database"] = {"url": f"postgresql://a:b@127.0.0.1:{silent.getsockname()[1]}/c"}
        latch.launch_alone(*prefix, words=("users", "list"))
        silent.settimeout(START_SECONDS)
        connection, _ = silent.accept()
        os.kill(first_process(latch, prefix), signal.SIGTERM)
        assert latch.wait() == (128 + signal.SIGTERM if prefix else -signal.SIGTERM)
        connection.close()


def harmless() -> list[int]:
    """Return all signals that must not end a service: all but those that stop it and those that report a crash."""
    stopping = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGPWR}
    defects = {
        getattr(signal, f"SIG{name}") for name in ("ABRT", "BUS", "FPE", "ILL", "KILL", "SEGV", "STOP", "SYS", "TRAP")
    }
    return sorted(signal.valid_signals() - stopping - defects - {signal.SIGTSTP, signal.SIGCHLD})


async def test_signals_that_mean_nothing_to_serve_do_not_end_it(latch: Sitelatch) -> None:
    latch.start()
    async with connect(latch.address) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        for number in harmless():
            os.kill(latch.pid, number)

        def events(event: str) -> list[str]:
            return [line["signal"] for line in latch.log_lines() if line["event"] == event]

        # The open request is still answered.
        await client.send(b"\r\n")
        assert (await client.answer()).status == 401
        silent = ("HUP", "PIPE", "XFSZ", "TTIN", "TTOU", "WINCH", "CONT", "URG")
        logged = set(harmless()) - {getattr(signal, f"SIG{name}") for name in silent}
        await until(lambda: len(events("signal_ignored")) == len(logged), "the signals are logged")
        assert {"SIGUSR1", "SIGUSR2", "SIGALRM", "SIGRTMIN", "SIGRTMIN+3"} <= set(events("signal_ignored"))
        assert events("signal") == ["SIGHUP"]
    os.kill(latch.pid, signal.SIGUSR1)  # logged once only
    latch.signal(signal.SIGQUIT)
    assert latch.wait() == 0
    assert events("signal_ignored").count("SIGUSR1") == 1
    assert events("signal") == ["SIGHUP", "SIGQUIT"]


async def test_signals_during_the_last_flush_of_the_log_do_not_change_the_exit_code(latch: Sitelatch) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    latch.launch_alone(stderr=writer)
    latch.wait_for_readiness(200)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b" " * 4096)
    os.close(writer)
    latch.signal(signal.SIGTERM)
    await until(lambda: latch.ready() is None, "the listeners close")
    await until(lambda: not has_event_loop(latch.pid), "the event loop closes")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        latch.signal(number)
    assert latch.wait() == 0
    os.close(reader)
