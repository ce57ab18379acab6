"""Searches for expensive heads: `python -m tests.cost.search [SECONDS [SEED]]`, in seconds of CPU time.

`find_worst` climbs: what it finds depends on the machine's speed. `worst_trials` tries the same heads everywhere.

A head has up to four expensive parts: a path, a query, cookies and other fields. Each part repeats a few units up to a
size. The search changes one thing at a time, in a random part, and keeps changes that make the head slower. It begins
with random heads and with the known cases. Sizes change too, because the most expensive heads are just small enough to
pass the limits. It prints the worst head of each kind with its instructions, as rows for `tests.cost.cases`.
"""

import asyncio
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.cost.cases import COOKIES, MIXES, NEARLY_PLAIN, PATHS, QUERIES, VALUES
from tests.cost.heads import HEAD_ROOM, MAX_FIELDS, SITE, TARGET_ROOM, Mix, Part
from tests.cost.measure import EVERYWHERE, FAR_TOO_MUCH, MAX_COST, Cost, Sent, Stopwatch, in_instructions
from tests.cost.setups import KEYS

SEED = 8
_TRIES = 4
_PATIENCE = 45
"""The search starts over after this many changes in a row without a higher cost."""
_IMPATIENCE, _CHEAP = 15, 9
"""The search starts over earlier if the head costs less than this many plain heads."""
_HIGHER = 1.03
"""A cost is higher if it is this many times as high, because times vary."""
_MAX_UNITS = 3
_LONGEST_UNIT = 60
_ROOM = {"path": TARGET_ROOM, "query": TARGET_ROOM, "cookies": HEAD_ROOM, "value": HEAD_ROOM}

# Names that the setups look for, and some that they do not.
_WANTED = [
    *(b"site", b"idSite", b"site_id", b"ids", b"filter[site]", b"filter", b"api_key", b"token", b"urls", b"$apply"),
    *(b"_method", b"x-http-method-override", b"_httpmethod", b"$httpmethod", b"x-tunneled-method", b"__PATH__"),
    *(b"a", b"p", b"page[size]", b""),
]
_BEFORE = [
    b"+",
    b"%20",
    b"[",
    b"]",
    b"?",
    b"!",
    b".",
    b"%2e",
    b"%5b",
    b"%255b",
    b"%0a",
    b"%26",
    b"%2526",
    b"x%26",
    b"%",
]
_AFTER = [
    *(b"[]", b"[{n}]", b"%5b{n}%5d", b"[x]", b".0", b".a", b"%00", b"%2500", b"+", b"%20", b"%3d", b"%253d", b"%26"),
    *(b"%253b", b"]", b"[", b"%0a", b"%250a", b"s", b"%", b"{n}", b"{x}", b"%c3%a9", b"%cc%b4%cc%81", b"%ff", b"[[[["),
]
_LOOK_ALIKES = {b"s": b"%c5%bf", b"i": b"%c4%b1", b"k": b"%e2%84%aa", b"_": b".", b"[": b"%5b", b"]": b"%5d"}
_VALUES = [
    *(b"shop", b"{n}", b"1", b"eq.{n}", b"in.({n})", b"in.(", b"{n},", b"{n}%2c", b"all", b"DELETE", b"A,", b"%41"),
    *(b"%2541", b"%25252541", b"%u0041", b"+", b"%2b", b"a+b", b"%", b"%25", b"%c3%a9", b"%ff", b";a=1", b"?site=x"),
    *(b"%26site=x", b"\xc3\xa9", b"", b"{x}" * 4, b"[1,2]", b'{"a":', b"%5b%22a%22%5d", b"slk_a", b"=", b"/", b"."),
]
_SEPARATORS = [b"&", b"&", b"&", b"&", b";", b"?", b"&;", b"&&", b";;", b""]

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


@dataclass(frozen=True)
class Found:
    """A head that the search tries, and where it is sent to."""

    mix: Mix
    setup: str = EVERYWHERE[0][0]
    key: str = EVERYWHERE[0][1]

    def sent(self) -> Sent:
        """Return the bytes, and the setup that they are sent to."""
        return Sent(self.setup, self.key, self.mix.shape().head(KEYS[self.key]))

    @property
    def kind(self) -> tuple[str, ...]:
        """The parts of the head and the setup: the search reports the worst head of each kind."""
        return (self.setup, *sorted(self.mix.parts))

    def __str__(self) -> str:
        return f"{self.setup}, {self.key}: {self.mix}"


def _known() -> list[Mix]:
    """Return the known cases, as heads to begin with."""
    known = [Mix({"path": Part(start, (unit,), end, TARGET_ROOM)}) for start, unit, end in PATHS]
    known += [Mix({"query": Part(start, (unit,), end, TARGET_ROOM)}) for start, unit, end in QUERIES]
    known += [Mix({"cookies": Part(start, (unit,), end, HEAD_ROOM)}) for start, unit, end in COOKIES]
    known += [Mix({"value": Part(start, (unit,), end, HEAD_ROOM)}, name) for name, start, unit, end in VALUES]
    return known + NEARLY_PLAIN + MIXES


class _Mutations:
    """Random changes to a head, one at a time."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._known = _known()

    def beginning(self) -> Found:
        """Return an initial head for the search."""
        found = Found(self._chance.choice(self._known))
        for _ in range(self._chance.choice([0, 1, 2, 3])):
            found = self.change(found)
        return self._elsewhere(found)

    def trial(self) -> Found:
        """Return a known case with a few changes, mostly one that is expensive in several parts."""
        found = Found(self._chance.choice(MIXES if self._chance.random() < 0.8 else self._known))
        for _ in range(self._chance.randint(1, 6)):
            found = self.change(found)
        return self._elsewhere(found)

    def change(self, found: Found) -> Found:
        """Return a head that differs in one thing."""
        changes: list[tuple[int, Callable[[Mix], Mix]]] = [
            (12, self._change_unit),
            (6, self._change_size),
            (3, self._change_units),
            (3, self._change_parts),
            (1, self._change_ends),
            (1, self._change_method),
            (3 if "value" in found.mix.parts else 0, self._change_fields),
        ]
        if self._chance.random() < 0.08:
            return self._elsewhere(found)
        (chosen,) = self._chance.choices([change for _, change in changes], [weight for weight, _ in changes])
        return replace(found, mix=chosen(found.mix))

    def _elsewhere(self, found: Found) -> Found:
        setup, key = self._chance.choice(EVERYWHERE)
        return replace(found, setup=setup, key=key)

    def _changed(self, mix: Mix, change: Callable[[Part, str], Part]) -> Mix:
        kind = self._chance.choice(list(mix.parts))
        return mix.with_part(kind, change(mix.parts[kind], kind))

    def _atom(self, kind: str) -> bytes:
        chance = self._chance.random()
        if kind in ("query", "cookies") and chance < 0.4:
            return self._spelled() if chance < 0.3 else self._chance.choice(_VALUES)
        return self._chance.choice(_ANYWHERE if kind in ("path", "query") else _IN_FIELDS)

    def _spelled(self) -> bytes:
        """Return a name in some spelling."""
        name = self._chance.choice(_WANTED)
        spelled = self._chance.choice(_BEFORE) if self._chance.random() < 0.3 else b""
        odd = self._chance.choice([0, 0.1, 0.3])
        for at in range(len(name)):
            character = name[at : at + 1]
            if self._chance.random() < odd:
                depth = b"25" * self._chance.choice([0, 0, 1, 1, 2, 3])
                hexadecimal = b"%02x" % name[at]
                ways = [b"%" + depth + hexadecimal, b"%u00" + hexadecimal, character.swapcase()]
                character = self._chance.choice([*ways, _LOOK_ALIKES.get(character, character)])
            spelled += character
        if self._chance.random() < 0.3:
            spelled = spelled[: self._chance.randint(0, len(spelled))]  # a near miss
        return spelled + (self._chance.choice(_AFTER) if self._chance.random() < 0.5 else b"")

    def _unit(self, kind: str) -> bytes:
        if kind == "query" and self._chance.random() < 0.5:
            value = b"=" + self._chance.choice(_VALUES) if self._chance.random() < 0.6 else b""
            return self._spelled() + value + self._chance.choice(_SEPARATORS) or b"a"
        if kind == "cookies" and self._chance.random() < 0.5:
            return self._spelled() + b"=" + self._chance.choice(_VALUES) + b";"
        return b"".join(self._atom(kind) for _ in range(self._chance.randint(1, 5))) or b"a"

    def _change_unit(self, mix: Mix) -> Mix:
        def change(part: Part, kind: str) -> Part:
            if not part.units:
                return replace(part, units=(self._unit(kind),))
            at = self._chance.randrange(len(part.units))
            unit = part.units[at]
            cut = self._chance.randint(0, len(unit))
            to = min(len(unit), cut + self._chance.randint(0, 4))
            how = self._chance.random()
            if how < 0.15:
                unit = self._unit(kind)
            elif how < 0.5:
                unit = unit[:cut] + self._atom(kind) + unit[cut:]
            elif how < 0.75:
                unit = unit[:cut] + unit[to:]
            else:
                unit = unit[:cut] + self._atom(kind) + unit[to:]
            return replace(part, units=(*part.units[:at], unit[:_LONGEST_UNIT] or b"a", *part.units[at + 1 :]))

        return self._changed(mix, change)

    def _change_size(self, mix: Mix) -> Mix:
        def change(part: Part, kind: str) -> Part:
            factor = self._chance.choice([0.5, 0.7, 0.8, 0.9, 0.95, 1.05, 1.1, 1.25, 1.5, 2, 100])
            return replace(part, size=max(1, min(int(part.size * factor), _ROOM[kind])))

        return self._changed(mix, change)

    def _change_units(self, mix: Mix) -> Mix:
        def change(part: Part, kind: str) -> Part:
            units = list(part.units)
            if len(units) > 1 and self._chance.random() < 0.5:
                units.pop(self._chance.randrange(len(units)))
            else:
                units.insert(self._chance.randint(0, len(units)), self._unit(kind))
            return replace(part, units=tuple(units[:_MAX_UNITS]))

        return self._changed(mix, change)

    def _change_parts(self, mix: Mix) -> Mix:
        """Add a part from a known case, or remove one."""
        kind = self._chance.choice(list(_ROOM))
        if kind in mix.parts and len(mix.parts) > 1:
            return mix.without_part(kind)
        other = self._chance.choice([known for known in self._known if kind in known.parts])
        size = self._chance.choice([200, 1000, 4000, _ROOM[kind]])
        if kind == "value":
            mix = replace(mix, name=other.name, count=other.count)
        return mix.with_part(kind, replace(other.parts[kind], size=size))

    def _change_ends(self, mix: Mix) -> Mix:
        def change(part: Part, kind: str) -> Part:
            end = self._chance.choice([b"", self._unit(kind)])
            if self._chance.random() < 0.3:
                return replace(part, end=end)
            if kind == "path":
                return replace(
                    part, start=self._chance.choice([SITE, b"/", b"/x/", b"/export/", b"/api/query", *_STARTS])
                )
            return replace(part, start=end)

        return self._changed(mix, change)

    def _change_method(self, mix: Mix) -> Mix:
        methods = [b"GET", b"POST", b"OPTIONS", b"DELETE", b"HEAD", b"LIST", b"PROPFIND"]
        return replace(mix, method=self._chance.choice(methods))

    def _change_fields(self, mix: Mix) -> Mix:
        if self._chance.random() < 0.5:
            return replace(mix, name=self._chance.choice(_NAMES))
        return replace(mix, count=self._chance.choice([1, 1, 2, 10, MAX_FIELDS // 2, MAX_FIELDS]))


_STARTS = [start for start, _, _ in PATHS]


async def search(watch: Stopwatch, *, seconds: float, seed: int, enough: float) -> list[tuple[Cost, Found]]:
    """Return the most expensive heads that were found, the worst first. A climb ends at a head that costs `enough`.

    `seconds` are of CPU time, so the search is as thorough on a busy machine.
    """
    mutations = _Mutations(random.Random(seed))
    ends = time.process_time() + seconds
    tops: dict[tuple[str, ...], tuple[Cost, Found]] = {}
    while time.process_time() < ends:
        best = mutations.beginning()
        cost = await watch.cost(best.sent(), tries=_TRIES)
        failures = 0
        while cost.ratio < enough and time.process_time() < ends:
            if failures >= (_IMPATIENCE if cost.ratio < _CHEAP else _PATIENCE):
                break
            other = mutations.change(best)
            other_cost = await watch.cost(other.sent(), tries=1)
            if other_cost.ratio > _HIGHER * cost.ratio:  # it may only have looked more expensive on a busy machine
                other_cost = await watch.cost(other.sent(), tries=_TRIES)
            if other_cost.ratio > _HIGHER * cost.ratio:
                best, cost, failures = other, other_cost, 0
            else:
                failures += 1
                again = await watch.cost(best.sent(), tries=1)
                cost = min(cost, again, key=lambda each: each.ratio)  # the best head may also have looked so
        if best.kind not in tops or cost.ratio > tops[best.kind][0].ratio:
            tops[best.kind] = (cost, best)
    return sorted(tops.values(), key=lambda top: -top[0].ratio)


async def _search(seconds: float, seed: int) -> list[tuple[Cost, Found]]:
    watch = Stopwatch()
    await watch.start()
    found = await search(watch, seconds=seconds, seed=seed, enough=FAR_TOO_MUCH)
    await watch.close()
    return found


def find_worst(seconds: float, seed: int) -> list[tuple[Cost, Found]]:
    """Search, and return the worst head of each kind with its cost in instructions, the most expensive first.

    Heads that cost far too much keep their cost by the clock, because counting them would take long. Heads that cost
    little by the clock are left out.
    """
    return _counted(asyncio.run(_search(seconds, seed)), worth=MAX_COST / 3)


async def _try(count: int, seed: int) -> list[tuple[Cost, Found]]:
    watch = Stopwatch()
    await watch.start()
    mutations = _Mutations(random.Random(seed))
    trials = [mutations.trial() for _ in range(count)]
    costs = [(await watch.cost(trial.sent(), tries=2), trial) for trial in trials]
    await watch.close()
    return costs


def worst_trials(count: int, seed: int) -> list[tuple[Cost, Found]]:
    """Try as many random heads, which depend only on the seed. Return the expensive ones as `find_worst` does."""
    return _counted(asyncio.run(_try(count, seed)), worth=MAX_COST * 2 / 3)


def _counted(found: list[tuple[Cost, Found]], worth: float) -> list[tuple[Cost, Found]]:
    """Count the heads that cost more than `worth` plain heads by the clock. Return the most expensive one first."""
    found = [(cost, top) for cost, top in found if cost.ratio > worth]
    far_too_much = [(cost, top) for cost, top in found if cost.ratio >= FAR_TOO_MUCH]
    others = [top for cost, top in found if cost.ratio < FAR_TOO_MUCH]
    counted = in_instructions([top.sent() for top in others], harmless=MAX_COST)
    return sorted([*far_too_much, *zip(counted, others, strict=True)], key=lambda top: -top[0].ratio)


def main() -> None:
    """Search, count and print."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else SEED
    for cost, top in find_worst(seconds, seed):
        sys.stdout.write(f"{cost.ratio:8.1f} {cost.code:18} {top}\n")


if __name__ == "__main__":
    main()
