"""Running the `sitelatch` command in separate processes."""

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SECONDS = 120.0
"""The longest that a command may take, on a slow machine."""


class Command:
    """A running `sitelatch` command. The methods are those of `subprocess.Popen`."""

    def __init__(
        self, words: tuple[str, ...], environ: Mapping[str, str], *, stdin: Path, stdout: Path, stderr: Path
    ) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SITELATCH_")}
        streams = {"stdin": str(stdin), "stdout": str(stdout), "stderr": str(stderr)}
        self._server = socket.socket(socket.AF_UNIX)
        self._server.settimeout(SECONDS)
        self._server.connect(_command_server())
        self._server.sendall(json.dumps({"words": words, "environ": clean | dict(environ), **streams}).encode() + b"\n")
        self._received = b""
        self._code: int | None = None
        self.pid = int(self._line())

    def _line(self) -> bytes:
        while b"\n" not in self._received:
            data = self._server.recv(100)
            if not data:
                raise ConnectionError("the command server ended")
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line

    def wait(self, timeout: float = SECONDS) -> int:
        """Return the exit code when the command ends. Raises subprocess.TimeoutExpired."""
        if self._code is None:
            self._server.settimeout(timeout)
            try:
                self._code = int(self._line())
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired("sitelatch", timeout) from None
            self._server.close()
        return self._code

    def poll(self) -> int | None:
        """Return the exit code, or None if the command is still running."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the command, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


@dataclass(frozen=True)
class Done:
    """The exit code and output of a finished command."""

    code: int
    out: str
    err: str

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.err.splitlines()]


def sitelatch(*words: str, stdin: str = "", environ: Mapping[str, str] | None = None) -> Done:
    """Run a command until it ends."""
    with tempfile.TemporaryDirectory(prefix="sitelatch-command-") as folder:
        files = {name: Path(folder, name) for name in ("stdin", "stdout", "stderr")}
        files["stdin"].write_text(stdin)
        files["stdout"].touch()
        files["stderr"].touch()
        code = Command(words, environ or {}, **files).wait()
        return Done(code, files["stdout"].read_text(), files["stderr"].read_text())


@functools.cache
def _command_server() -> str:
    """Start the server that runs the commands of this test process, and return its socket.

    It forks a process that has loaded the modules, because importing them is most of what a short command costs.
    """
    folder = tempfile.TemporaryDirectory(prefix="sitelatch-commands-")
    address = str(Path(folder.name, "socket"))
    process = subprocess.Popen([sys.executable, "-m", "tests.acceptance.command_server", address], cwd=ROOT)
    atexit.register(folder.cleanup)
    atexit.register(process.wait)
    atexit.register(process.terminate)  # atexit runs these in reverse order
    deadline = time.monotonic() + SECONDS
    with socket.socket(socket.AF_UNIX) as probe:
        while probe.connect_ex(address) != 0:
            assert process.poll() is None, "the command server ended"
            assert time.monotonic() < deadline, "the command server does not listen"
            time.sleep(0.02)
    return address
