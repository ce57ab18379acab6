"""Running the `sitelatch` command at a pseudo-terminal, as a person does."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping
from pathlib import Path

from tests.acceptance.shell import SECONDS, Command


class Terminal:
    """A command whose standard streams are a terminal, or some of them a file."""

    def __init__(self, *words: str, columns: int = 80, environ: Mapping[str, str] | None = None, **files: Path) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        terminal = Path(os.ttyname(theirs))
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal) | files
        # A shell that exports COLUMNS would override the size of the terminal.
        self._command = Command(words, {"COLUMNS": "", **(environ or {})}, **streams)
        self._theirs = theirs
        self._shown = ""

    def read_until(self, text: str) -> str:
        """Wait until the terminal shows the text, and return everything that it shows."""
        deadline = time.monotonic() + SECONDS
        while text not in self._shown:
            assert time.monotonic() < deadline, self._shown
            self._read(0.2)
            assert text in self._shown or self._command.poll() is None, self._shown
        return self._shown

    def _read(self, seconds: float) -> bool:
        if not select.select([self._ours], [], [], seconds)[0]:
            return False
        self._shown += os.read(self._ours, 65536).decode().replace("\r\n", "\n")
        return True

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._ours, text.encode())

    def interrupt(self, number: signal.Signals) -> None:
        """Send the signal of a key such as Ctrl-C. The terminal is not the controlling one, so it sends none itself."""
        self._command.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Wait until the command ends. Return its exit code, and everything that the terminal shows."""
        deadline = time.monotonic() + SECONDS
        while self._command.poll() is None:
            assert time.monotonic() < deadline, self._shown
            self._read(0.05)
        while self._read(0):
            pass
        os.close(self._theirs)
        os.close(self._ours)
        return self._command.wait(), self._shown


def at_terminal(
    *words: str, columns: int = 80, environ: Mapping[str, str] | None = None, **files: Path
) -> tuple[int, str]:
    """Run a command that asks nothing. Return its exit code and what the terminal shows."""
    return Terminal(*words, columns=columns, environ=environ, **files).end()


def lines(shown: str) -> list[str]:
    """Return the lines that a terminal shows, without colors."""
    return re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
