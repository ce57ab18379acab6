"""The access log: one JSON line for each exchange."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Final, Literal, Protocol

from proxy.observe.redaction import mask, public_path, public_sites

_FLUSH_SECONDS: Final = 0.2
_BATCH_BYTES: Final = 32768
_REMEMBERED: Final = 10_000
_REMEMBERED_SITES: Final = 4
"""Lines of requests that name more sites are rendered anew, because clients choose how many sites they name."""

_NOT_REFUSED: Final = ("passed", "preflight_answered", "undecided")

_quote = json.encoder.encode_basestring_ascii
_METHODS: Final = {verb.encode(): f'"{verb}"' for verb in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
_FRACTIONS: Final = [f".{milliseconds:03d}Z" for milliseconds in range(1000)]


class Stream(Protocol):
    """Accepts batches of lines without blocking: a BackgroundWriter, or a buffer in memory."""

    def write(self, data: bytes, /) -> object:
        """Write a batch."""


class AccessLog:
    """Writes one line per exchange. Lines are buffered for up to 0.2 s, to write many of them with one system call."""

    def __init__(
        self,
        stream: Stream,
        access: Literal["all", "refused", "off"] = "all",
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`wall_clock` returns seconds since the epoch."""
        self._stream = stream
        self._wall_clock = wall_clock
        self._off = access == "off"
        self._refused_only = access == "refused"
        self._lines: list[str] = []
        self._size = 0
        self._second = 0
        self._second_text = ""
        self._turn = -1.0
        self._turn_text = ""
        self._granted: dict[tuple[str, tuple[str, ...]], str] = {}

    def writes(self, outcome: str, shadow: str = "passed") -> bool:
        """Return whether exchanges with this outcome, and this verdict in shadow mode, are logged. Hot."""
        return not (self._off or (self._refused_only and outcome in _NOT_REFUSED and shadow in _NOT_REFUSED))

    def write(
        self,
        *,
        request_id: str,
        client: str,
        method: bytes,
        path: bytes,
        status: int,
        outcome: str,
        route: str,
        user_id: str | None,
        sites: tuple[str, ...],
        seconds: float,
        upstream_seconds: float | None,
        upstream_error: str | None,
        bytes_in: int,
        bytes_out: int,
        shadow: str = "",
    ) -> None:
        """Log one exchange that has ended. Secrets in its method, path and sites are masked. Hot.

        `shadow` is the verdict on a request to a route in shadow mode, which did not change the outcome.
        """
        if not self.writes(outcome, shadow or "passed"):
            return
        # Formatting by hand, with the JSON encoder's quoting, takes 4 µs. json.dumps would take 12 µs.
        verb = _METHODS.get(method) or _quote(mask(method.decode("latin-1")))
        user = "null" if user_id is None else _quote(user_id)
        named = ",".join(map(_quote, public_sites(sites)))
        upstream_ms = "null" if upstream_seconds is None else f"{upstream_seconds * 1000:.2f}"
        error = "null" if upstream_error is None else f'"{upstream_error}"'
        verdict = f',"shadow":"{shadow}"' if shadow else ""
        line = (
            f'{{"time":"{self._now()}","event":"exchange","request_id":{_quote(request_id)},"client":{_quote(client)},'
            f'"method":{verb},"path":{_quote(public_path(path))},"status":{status},"outcome":"{outcome}",'
            f'"route":"{route}","user_id":{user},"sites":[{named}],"ms":{seconds * 1000:.2f},'
            f'"upstream_ms":{upstream_ms},"upstream_error":{error},"bytes_in":{bytes_in},"bytes_out":{bytes_out}{verdict}}}'
        )
        self._append(line)

    def write_plain(
        self,
        turn: float,
        request_id: bytes,
        client: str,
        target: bytes,
        status: int,
        route: str,
        user_id: str,
        sites: tuple[str, ...],
        seconds: float,
        upstream_seconds: float,
        bytes_out: int,
    ) -> None:
        """Log a GET without a body that passed, whose target is plain (plain_requests.py), as `write` does. Hot.

        Lines with the same `turn` get the same time, which is that of the first of them.
        """
        if turn != self._turn:
            self._turn = turn
            self._turn_text = self._now()
        path = target.partition(b"?")[0].decode("ascii")
        # A plain target is visible ASCII. So only these characters need to be quoted, or may belong to a secret.
        if "_" in path or "%" in path or '"' in path or "\\" in path:
            path = _quote(public_path(target))[1:-1]
        who = (user_id, sites)
        granted = self._granted.get(who)
        if granted is None:
            granted = self._render_granted(who)
        self._append(
            f'{{"time":"{self._turn_text}","event":"exchange","request_id":"{request_id.decode("ascii")}",'
            f'"client":{_quote(client)},"method":"GET","path":"{path}","status":{status},"outcome":"passed",'
            f'"route":"{route}",{granted},"ms":{seconds * 1000:.2f},"upstream_ms":{upstream_seconds * 1000:.2f},'
            f'"upstream_error":null,"bytes_in":0,"bytes_out":{bytes_out}}}'
        )

    def _render_granted(self, who: tuple[str, tuple[str, ...]]) -> str:
        """Render an API user and the named sites, and remember the text unless the client named many sites."""
        user_id, sites = who
        granted = f'"user_id":{_quote(user_id)},"sites":[{",".join(map(_quote, public_sites(sites)))}]'
        if len(sites) <= _REMEMBERED_SITES:
            if len(self._granted) >= _REMEMBERED:
                self._granted.clear()
            self._granted[who] = granted
        return granted

    def _append(self, line: str) -> None:
        if not self._lines:
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)
        self._lines.append(line)
        self._size += len(line)
        if self._size > _BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write all buffered lines. Call it last, after everything else has closed."""
        if self._lines:
            self._lines.append("")
            batch = "\n".join(self._lines).encode("ascii")
            self._lines = []
            self._size = 0
            self._stream.write(batch)

    def _now(self) -> str:
        now = self._wall_clock()
        second = int(now)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return self._second_text + _FRACTIONS[int((now - second) * 1000)]
