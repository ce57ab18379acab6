"""A program under test: its inputs, how it is started, and its state while it runs."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.processes import free_port, wait_for
from bench.throughput.credentials import Credential
from bench.throughput.machine import PROXY_CORE, pinned

_REPOSITORY = Path(__file__).resolve().parents[2]
UPSTREAM_CONNECTIONS = 1024


@dataclass(frozen=True)
class Place:
    """What every candidate needs: a folder for its files, the upstream, the keys, the database and a certificate."""

    folder: Path
    upstream: int
    credentials: Sequence[Credential]
    dsn: str
    certificate: Path
    private_key: Path


@dataclass(frozen=True)
class Running:
    """A candidate that has been started. `tls` is its port for HTTPS, if it has one."""

    name: str
    pid: int
    port: int
    tls: int


Command = Callable[[Place, int, int], list[str]]
"""Writes the config for a place, a port and a port for HTTPS, and returns the command to run."""


@dataclass(frozen=True)
class Candidate:
    """Software under test. `check` says what it checks."""

    name: str
    check: str
    command: Command
    only_tls: bool = False

    @contextmanager
    def start(self, place: Place, core: int = PROXY_CORE) -> Iterator[Running]:
        """Run the candidate on a core until the context ends."""
        port, tls = free_port(), free_port()
        folder = place.folder / self.name.replace(" ", "-").replace(",", "")
        folder.mkdir()
        with (folder / "output").open("wb") as output:
            with pinned(core):
                process = subprocess.Popen(
                    self.command(replace(place, folder=folder), port, tls),
                    stdout=output,
                    stderr=output,
                    cwd=folder,
                    env=os.environ | {"PYTHONPATH": str(_REPOSITORY)},
                )
            try:
                try:
                    wait_for(tls if self.only_tls else port, 20)
                except SystemExit as error:
                    written = (folder / "output").read_text(errors="replace")
                    raise SystemExit(f"{self.name}: {error}\n{written[-2000:]}") from None
                yield Running(self.name, process.pid, port, tls)
            finally:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def module(*arguments: str) -> list[str]:
    """Return the command that runs a Python module."""
    return [sys.executable, "-m", *arguments]


def write_keys(place: Place) -> None:
    """Write a file with one line for each key and its site."""
    (place.folder / "keys").write_text("".join(f"{one.key} {one.site}\n" for one in place.credentials))
