"""Whose lookup is next: so many at once, in turn by party, so that who asks for much waits for himself only."""

import asyncio
from collections import OrderedDict, deque

Party = str | bytes


class Turns:
    """Slots for work. A party (a client's network, a known key) is served first come, first served; parties in turn.

    One party never holds more than `per_party` slots: before its first answers are in nobody knows whether it is
    a flood, and there must be a slot left for others then.
    """

    def __init__(self, at_once: int, per_party: int) -> None:
        self._free = at_once
        self._per_party = per_party
        self._running: dict[Party, int] = {}
        self._waiting: dict[Party, deque[asyncio.Future[None]]] = {}
        # Parties that wait and hold fewer slots than they may, next one first.
        self._next: OrderedDict[Party, None] = OrderedDict()

    def free_for(self, party: Party) -> bool:
        """Return whether this party would get a slot at once."""
        return self._free > 0 and self._running.get(party, 0) < self._per_party

    async def take(self, party: Party) -> None:
        """Wait for a slot. Whoever took one calls `give_back`."""
        # A free slot means that nobody waits who could have it.
        if self.free_for(party):
            self._start(party)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(party, deque()).append(turn)
        self._line_up(party)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the turn came together with the cancellation
                self.give_back(party)
            raise

    def give_back(self, party: Party) -> None:
        """Free a slot, and hand it to whoever is next."""
        self._free += 1
        running = self._running.pop(party) - 1
        if running:
            self._running[party] = running
        self._line_up(party)
        while self._free and self._next:
            self._hand_out(self._next.popitem(last=False)[0])

    def _line_up(self, party: Party) -> None:
        if party in self._waiting and self._running.get(party, 0) < self._per_party:
            self._next.setdefault(party, None)

    def _hand_out(self, party: Party) -> None:
        queue = self._waiting[party]
        while queue:
            turn = queue.popleft()
            if not turn.done():  # else its owner gave up
                self._start(party)
                turn.set_result(None)
                break
        if not queue:
            del self._waiting[party]
        self._line_up(party)

    def _start(self, party: Party) -> None:
        self._free -= 1
        self._running[party] = self._running.get(party, 0) + 1
