"""A new user who follows the documentation: an empty home, a fresh clone, and the shell blocks of the pages."""

import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
_SECONDS: Final = 150.0
_TICK_SECONDS: Final = 0.1
_PASSED_ON: Final = ("PIP_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_")
"""How pip reaches the package index. A new user has these settings too, where they are needed."""


class Done(NamedTuple):
    """The result of a block."""

    code: int
    output: str


class Network:
    """A network without other programs, so that the ports in the documentation are free.

    Creating one needs root. Otherwise, the blocks run in the machine's network.
    """

    def __init__(self) -> None:
        self._holder: subprocess.Popen[bytes] | None = None
        self.prefix: list[str] = []
        """The words to put before a command that is to run in this network."""
        if os.geteuid() == 0:
            hold = "ip link set lo up && echo ready && exec sleep infinity"
            self._holder = subprocess.Popen(["unshare", "--net", "sh", "-c", hold], stdout=subprocess.PIPE)
            if self._holder.stdout is not None and self._holder.stdout.readline() == b"ready\n":
                self.prefix = ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--"]

    def close(self) -> None:
        """Remove the network."""
        if self._holder is not None:
            self._holder.kill()
            self._holder.communicate()


class Reader:
    """A person with a fresh clone of the repository and an empty home directory."""

    def __init__(self, folder: Path, network: Network, tools: Path) -> None:
        """`tools` contains the programs that the documentation expects, such as pipx."""
        self.clone = folder / "sitelatch"
        self._home = folder / "home"
        self._home.mkdir()
        self._network = network
        self._variables = folder / "variables"
        self._variables.touch()
        self._services: list[tuple[subprocess.Popen[bytes], Path]] = []
        self._count = 0
        _clone(self.clone)
        path = f"{self._home}/.local/bin:{tools}:/usr/local/bin:/usr/bin:/bin"
        passed_on = {name: value for name, value in os.environ.items() if name.upper().startswith(_PASSED_ON)}
        self._environ = {**passed_on, "HOME": str(self._home), "PATH": path, "LANG": "C.UTF-8"}

    def run(self, block: str, *, online: bool = False, answers: Sequence[str] = ()) -> Done:
        """Run a block of shell commands to its end. `answers` are typed at a terminal.

        Variables that a block sets exist in the blocks after it.
        """
        process, output = self._start(block, online=online, answers=answers)
        try:
            code = process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        return Done(code, output.read_text())

    def start(self, block: str, sign: str, *, online: bool = False, answers: Sequence[str] = ()) -> Done:
        """Run a block whose last command stays. Returns when the output contains `sign`, with code 0, or on failure."""
        process, output = self._start(block, online=online, answers=answers)
        deadline = time.monotonic() + _SECONDS
        while sign not in output.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                return Done(process.poll() or -1, output.read_text())
            time.sleep(_TICK_SECONDS)
        self._services.append((process, output))
        return Done(0, output.read_text())

    def stop(self) -> list[str]:
        """Press Ctrl-C in all terminals. Returns the output of the commands that were running."""
        found = []
        for process, output in self._services:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            found.append(output.read_text())
        self._services.clear()
        return found

    def _start(self, block: str, *, online: bool, answers: Sequence[str]) -> tuple[subprocess.Popen[bytes], Path]:
        self._count += 1
        script = self._home.parent / f"block-{self._count}.sh"
        script.write_text(f"set -ea\n. {self._variables}\n{block}\nexport -p > {self._variables}\n")
        output = script.with_suffix(".txt")
        terminal = typed = None
        if answers:
            terminal, typed = pty.openpty()
            os.write(terminal, "".join(f"{answer}\n" for answer in answers).encode())
        with output.open("wb") as file:
            process = subprocess.Popen(
                [*([] if online else self._network.prefix), "bash", str(script)],
                cwd=self.clone,
                env=self._environ,
                stdin=subprocess.DEVNULL if typed is None else typed,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if typed is not None:
            os.close(typed)  # the other end stays open until the tests end, because closing it would hang up
        return process, output


def _clone(folder: Path) -> None:
    """Copy the files that git tracks, or would track."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, names):
        if (source := ROOT / name).is_file():
            (target := folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def tools_in(folder: Path) -> Path:
    """Install pipx into a fresh virtual environment. Returns the folder with its command and that of Python."""
    subprocess.run([sys.executable, "-m", "venv", str(folder / "tools")], check=True)
    pip = [str(folder / "tools" / "bin" / "pip"), "install", "-qq", "--disable-pip-version-check", "pipx"]
    subprocess.run(pip, check=True)
    (only := folder / "bin").mkdir()
    (only / "pipx").symlink_to(folder / "tools" / "bin" / "pipx")
    (only / "python3").symlink_to(Path(sys.executable).resolve())
    return only
