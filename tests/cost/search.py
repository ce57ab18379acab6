"""Searches for expensive heads: `python -m tests.cost.search [SECONDS [SEED]]`.

Each part of a head repeats a few units. The search changes one thing at a time, in a random part, and keeps changes
that make the head slower. It begins with random heads and with the known cases. It prints the worst head of each
dimension with its instructions, as rows for `tests.cost.cases`.
"""

import asyncio
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.cost.cases import COOKIES, HEAD_ROOM, MAX_FIELDS, PATHS, QUERIES, SITE, TARGET_ROOM, VALUES
from tests.cost.heads import Shape, fill
from tests.cost.measure import EVERYWHERE, Cost, Sent, Stopwatch, in_instructions
from tests.cost.setups import KEYS

SEED = 8
_TRIES = 2
_PATIENCE = 60
"""The search starts over after this many changes in a row without a higher cost."""
_MAX_PARTS = 3
_LONGEST_UNIT = 40

_ESCAPED = [b"%25", b"%2525", b"%252525", b"%41", b"%2541", b"%25252541", b"%u0041", b"%c3%a9", b"%ff", b"%00", b"%0a"]
_ANYWHERE = [
    *_ESCAPED,
    *(b"%c5%bf", b"%cc%81", b"%cc%b4%cc%81", b"%ef%b7%ba", b"%ef%bc%8f", b"%2b", b"%5b", b"%2c", b"%3d"),
    *(b"%2f", b"%252f", b"%25252f", b"%3b", b"%253b", b"%26", b"%2526", b"%3f", b"%23", b"%2e", b"%20", b"%5c"),
    *(b"a", b"A", b"1", b"{n}", b"{x}", b"site", b"Site", b"shop", b"api_key", b"idSite", b"filter", b"_method"),
    *(b";", b"/", b"=", b"&", b"?", b"+", b".", b",", b"-", b"_", b"[", b"]", b"'", b"(", b")", b"~", b":", b"*", b"$"),
    *(b"sites", b"api", b"in.(", b"eq.", b"all", b"urls", b"token", b"DELETE", b"static", b"export", b"json"),
    *(b"site_id", b"ids", b"ids[{n}]", b"ids[]", b"query", b"rows", b"lookup", b"site:"),
]
_IN_FIELDS = [
    *_ANYWHERE,
    b" ",
    b"\t",
    b'"',
    b"\xc3\xa9",
    b"\xff",
    b"\xcc\x81",
    b"%",
    b"\\",
    b"host=",
    b"192.0.2.1",
    b"slk_",
]
_NAMES = [
    *(b"Cookie", b"X-Site", b"X_Site", b"X.Site", b"Forwarded", b"X-Forwarded-For", b"X-Forwarded-Host", b"Connection"),
    *(
        b"Authorization",
        b"X-API-Key",
        b"X-HTTP-Method-Override",
        b"Content-Type",
        b"Upgrade",
        b"X-Request-Id",
        b"Origin",
    ),
    *(
        b"Accept",
        b"A{n}",
        b"A_{n}",
        b"X-Forwarded-{n}",
        b"Expect",
        b"TE",
        b"Transfer-Encoding",
        b"Content-Length",
        b"If",
    ),
    *(b"X_Site_Id", b"X-Site-Id", b"X_{n}", b"X-Tenant", b"X-Acme-{n}", b"X_Acme_{n}", b"X-Internal-{n}"),
    *(b"Destination", b"X-Forwarded-Proto", b"Access-Control-Request-Method", b"Referer", b"X-Forwarded-Prefix"),
]

Parts = tuple[bytes, ...]
"""Units, each repeated in its share of the available size."""


@dataclass(frozen=True)
class Found:
    """A head that the search tries."""

    dimension: str
    start: bytes
    parts: Parts
    end: bytes = b""
    name: bytes = b"Cookie"
    count: int = 1
    """The number of fields that share the available size."""
    method: bytes = b"GET"
    setup: str = EVERYWHERE[0][0]
    key: str = EVERYWHERE[0][1]

    def shape(self, share: int = 1) -> Shape:
        """Return the head in its largest size, divided by `share`."""
        room = (HEAD_ROOM if self.dimension == "fields" else TARGET_ROOM) // share
        if self.dimension == "path":
            return Shape(method=self.method, target=_cut(self.start + self._filled(room) + self.end, TARGET_ROOM))
        if self.dimension == "query":
            target = SITE + b"x?" + self.start + self._filled(room) + self.end
            return Shape(method=self.method, target=_cut(target, TARGET_ROOM))
        fields = []
        for number in range(self.count):
            value = self.start + self._filled(room // self.count - len(self.name) - 4) + self.end
            fields.append((self.name.replace(b"{n}", b"%d" % number), value))
        return Shape(method=self.method, fields=tuple(fields))

    def _filled(self, room: int) -> bytes:
        return b"".join(fill(part, max(0, room) // len(self.parts)) for part in self.parts)

    def sent(self, share: int = 1) -> Sent:
        """Return the bytes, and the setup that they are sent to."""
        return Sent(self.setup, self.key, self.shape(share).head(KEYS[self.key]))

    def __str__(self) -> str:
        more = f" {self.name!r} * {self.count}" if self.dimension == "fields" else ""
        return f"{self.dimension}{more} {self.method.decode()} ({self.start!r}, {self.parts!r}, {self.end!r})"


def _cut(target: bytes, room: int) -> bytes:
    return target[: room + len(SITE)]


def _known() -> list[Found]:
    """Return the known cases, as heads to begin with."""
    known = [Found("path", start, (unit,), end) for start, unit, end in PATHS]
    known += [Found("query", start, (unit,), end) for start, unit, end in QUERIES]
    known += [Found("fields", start, (unit,), end) for start, unit, end in COOKIES]
    known += [Found("fields", start, (unit,), end, name) for name, start, unit, end in VALUES]
    return known


class _Mutations:
    """Random changes to a head, one at a time."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._known = _known()

    def beginning(self) -> Found:
        """Return a head to begin with."""
        found = self._chance.choice(self._known)
        if self._chance.random() < 0.5:
            units = tuple(self._unit(found) for _ in range(self._chance.randint(1, 2)))
            found = replace(found, parts=units)
        return self._elsewhere(found)

    def change(self, found: Found) -> Found:
        """Return a head that differs in one thing."""
        changes: list[tuple[int, Callable[[Found], Found]]] = [
            (12, self._change_unit),
            (2, self._change_parts),
            (2, self._elsewhere),
            (1, self._change_ends),
            (1, self._change_method),
            (3 if found.dimension == "fields" else 0, self._change_fields),
        ]
        (chosen,) = self._chance.choices([change for _, change in changes], [weight for weight, _ in changes])
        return chosen(found)

    def _atom(self, found: Found) -> bytes:
        return self._chance.choice(_IN_FIELDS if found.dimension == "fields" else _ANYWHERE)

    def _unit(self, found: Found) -> bytes:
        return b"".join(self._atom(found) for _ in range(self._chance.randint(1, 5)))

    def _change_unit(self, found: Found) -> Found:
        at = self._chance.randrange(len(found.parts))
        unit = found.parts[at]
        cut = self._chance.randint(0, len(unit))
        to = min(len(unit), cut + self._chance.randint(0, 4))
        kind = self._chance.random()
        if kind < 0.5:
            unit = unit[:cut] + self._atom(found) + unit[cut:]
        elif kind < 0.75:
            unit = unit[:cut] + unit[to:]
        else:
            unit = unit[:cut] + self._atom(found) + unit[to:]
        return replace(found, parts=(*found.parts[:at], unit[:_LONGEST_UNIT] or b"a", *found.parts[at + 1 :]))

    def _change_parts(self, found: Found) -> Found:
        parts = list(found.parts)
        if len(parts) > 1 and self._chance.random() < 0.5:
            parts.pop(self._chance.randrange(len(parts)))
        else:
            parts.insert(self._chance.randint(0, len(parts)), self._unit(found))
        return replace(found, parts=tuple(parts[:_MAX_PARTS]))

    def _elsewhere(self, found: Found) -> Found:
        setup, key = self._chance.choice(EVERYWHERE)
        return replace(found, setup=setup, key=key)

    def _change_ends(self, found: Found) -> Found:
        other = self._chance.choice([known for known in self._known if known.dimension == found.dimension])
        return replace(found, start=other.start) if self._chance.random() < 0.7 else replace(found, end=other.end)

    def _change_method(self, found: Found) -> Found:
        return replace(
            found, method=self._chance.choice([b"GET", b"POST", b"OPTIONS", b"DELETE", b"HEAD", b"LIST", b"PROPFIND"])
        )

    def _change_fields(self, found: Found) -> Found:
        if self._chance.random() < 0.5:
            return replace(found, name=self._chance.choice(_NAMES))
        return replace(found, count=self._chance.choice([1, 1, 2, 10, MAX_FIELDS // 2, MAX_FIELDS]))


async def search(watch: Stopwatch, *, seconds: float, seed: int, enough: float) -> list[tuple[Cost, Found]]:
    """Return the most expensive heads that were found, the worst first. A climb ends at a head that costs `enough`."""
    mutations = _Mutations(random.Random(seed))
    ends = time.monotonic() + seconds
    tops: dict[tuple[str, bytes, str], tuple[Cost, Found]] = {}
    while time.monotonic() < ends:
        best = mutations.beginning()
        cost = await watch.cost(best.sent(), tries=_TRIES)
        failures = 0
        while failures < _PATIENCE and cost.ratio < enough and time.monotonic() < ends:
            other = mutations.change(best)
            other_cost = await watch.cost(other.sent(), tries=1)
            if other_cost.ratio > cost.ratio:  # it may only have looked more expensive on a busy machine
                other_cost = await watch.cost(other.sent(), tries=_TRIES)
            if other_cost.ratio > cost.ratio:
                best, cost, failures = other, other_cost, 0
            else:
                failures += 1
        kind = (best.dimension, best.name, best.setup)
        if kind not in tops or cost.ratio > tops[kind][0].ratio:
            tops[kind] = (cost, best)
    return sorted(tops.values(), key=lambda top: -top[0].ratio)


async def _search(seconds: float, seed: int) -> list[tuple[Cost, Found]]:
    watch = Stopwatch()
    await watch.start()
    found = await search(watch, seconds=seconds, seed=seed, enough=300)
    await watch.close()
    return found


def main() -> None:
    """Search, count and print."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else SEED
    found = asyncio.run(_search(seconds, seed))[:40]
    counted = in_instructions([top.sent() for cost, top in found if cost.ratio < 300])
    costs = iter(counted)
    for cost, top in found:
        exact = f"{next(costs).ratio:8.1f}" if cost.ratio < 300 else "        "
        sys.stdout.write(f"{exact} {cost.ratio:8.1f} {cost.code:18} {top.setup}, {top.key}: {top}\n")


if __name__ == "__main__":
    main()
