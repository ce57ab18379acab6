"""The directory, port and processes of a running backend."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.ports import free_port

HERE = Path(__file__).parent
APPS = HERE / "apps"
VENV = HERE / ".venv"
START_SECONDS = 60.0


class Place:
    """The directory, port and processes of one backend."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._outputs: list[Path] = []

    def write(self, name: str, text: str) -> Path:
        """Write a file in the directory and return its path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run(self, *command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> None:
        """Start a process, which runs until `stop`."""
        output = self.folder / f"output-{len(self._processes)}.log"
        with output.open("wb") as stream:
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=cwd or self.folder,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        self._processes.append(process)
        self._outputs.append(output)

    def finish(self, *command: str | Path, env: Mapping[str, str] | None = None) -> None:
        """Run a command, such as a compiler, and wait until it exits."""
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self.folder,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")[-3000:]

    def wait(self, port: int | None = None) -> None:
        """Wait until the port accepts connections."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port or self.port), 1).close()
            except OSError:
                for process in self._processes:
                    assert process.poll() is None, f"the backend exited:\n{self.output()}"
                assert time.monotonic() < deadline, f"the backend does not listen:\n{self.output()}"
                time.sleep(0.05)
            else:
                return

    def output(self) -> str:
        """Return the end of the output of each process."""
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in self._outputs)

    def stop(self) -> None:
        """Stop all processes, including their children."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in self._processes:
                try:
                    os.killpg(process.pid, number)
                except ProcessLookupError:
                    continue
            deadline = time.monotonic() + 5
            for process in self._processes:
                try:
                    process.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    continue


def python(*arguments: str | Path) -> Sequence[str | Path]:
    """Return a command that runs Python in the virtual environment of the backends."""
    return (VENV / "bin" / "python", *arguments)
