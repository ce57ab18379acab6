"""Run a command and return its exit code and output."""

import atexit
import functools
import json
import os
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
    """Run `sitelatch` with these arguments in a process of its own, and wait until it ends."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SITELATCH_")}
    with tempfile.TemporaryDirectory(prefix="sitelatch-command-") as folder:
        streams = {name: Path(folder, name) for name in ("stdin", "stdout", "stderr")}
        streams["stdin"].write_text(stdin)
        streams["stdout"].touch()
        streams["stderr"].touch()
        request = {"words": words, "environ": clean | dict(environ or {})} | {n: str(p) for n, p in streams.items()}
        with socket.socket(socket.AF_UNIX) as server:
            server.settimeout(SECONDS)
            server.connect(_command_server())
            server.sendall(json.dumps(request).encode() + b"\n")
            code = int(server.makefile().readline())
        return Done(code, streams["stdout"].read_text(), streams["stderr"].read_text())


@functools.cache
def _command_server() -> str:
    """Start the server that runs the commands of this test process, and return its socket."""
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
