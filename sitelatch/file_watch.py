"""Reads files again when they change, so that a renewed certificate is used without a restart."""

import asyncio
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from proxy.relay.tls_files import WatchedFiles
from sitelatch.config_source import ConfigError

_POLL_SECONDS = 5.0
_DAY_SECONDS = 86400.0

_log = structlog.get_logger("sitelatch")

Version = tuple[tuple[int, int, int, int] | None, ...]


@dataclass(slots=True)
class _State:
    """The state of a set of files."""

    files: WatchedFiles
    version: Version | None
    """The version that was read last."""
    failure: str = ""
    """Why that version could not be used."""


class FileWatch:
    """Checks files for changes. If a new version cannot be used, the previous one stays in use.

    The checks follow symbolic links, which Kubernetes replaces when a secret changes.
    """

    def __init__(self, watched: Sequence[WatchedFiles], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._states = [_State(files, _version(files)) for files in watched]
        self._clock = clock
        # The first check reads everything, because the files may have changed since they were read.
        self._read_all_at = clock() - _DAY_SECONDS

    async def run(self, reload: asyncio.Event) -> None:
        """Check every 5 s, read everything again each day and whenever `reload` is set, until canceled."""
        while True:
            try:
                async with asyncio.timeout(_POLL_SECONDS):
                    await reload.wait()
            except TimeoutError:
                await self.check()
            else:
                reload.clear()
                await self.check(asked=True)

    async def check(self, *, asked: bool = False) -> None:
        """Read the files that have changed. If `asked` to, or if a day has passed, read all files, and say so."""
        everything = asked or self._clock() - self._read_all_at >= _DAY_SECONDS
        if everything:
            self._read_all_at = self._clock()
        for state in self._states:
            await self._check(state, asked=asked, read=everything)

    async def _check(self, state: _State, *, asked: bool, read: bool) -> None:
        version = await asyncio.to_thread(_version, state.files)
        if version is None:
            return
        changed = version != state.version
        # A version that cannot be used is tried again: its last bytes may follow within the resolution of the clock.
        if not (changed or read or state.failure):
            return
        state.version = version
        try:
            use = await asyncio.to_thread(state.files.load)
        except Exception as error:  # if new files cannot be used, the service keeps using the previous ones
            failure = _reason(error)
            if asked or failure != state.failure:
                _log.error("files_not_reloaded", place=state.files.place, reason=failure, in_use="the previous files")
            state.failure = failure
            return
        use()
        if asked or state.failure or changed:
            _log.info("files_reloaded", place=state.files.place)
        state.failure = ""


def _version(watched: WatchedFiles) -> Version | None:
    """Return a value that changes when the content of the files changes. Return None if one cannot be read twice.

    A pipe, such as that of `<(…)` in a shell, cannot: reading it again would wait for a writer, perhaps forever.
    """
    found: list[tuple[int, int, int, int] | None] = []
    for file in watched.files:
        try:
            status = Path(file).stat()
        except OSError:
            found.append(None)
            continue
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            return None
        # Some tools restore the time of the content (mtime), but nothing can set the time of the change (ctime).
        found.append((status.st_dev, status.st_ino, status.st_ctime_ns, status.st_size))
    return tuple(found)


def _reason(error: Exception) -> str:
    """Return the message of an error without the file's content."""
    if isinstance(error, ConfigError):
        return " ".join(error.complaints)
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
