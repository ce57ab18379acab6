"""A fair semaphore: limits how many lookups run at a time, and serves the waiting parties round-robin."""

import asyncio
from collections import OrderedDict, deque

Party = str | bytes
"""A client's network, or a known key."""


class FairQueue:
    """Slots for lookups. Each party's lookups are served in order, and parties take turns.

    A party never uses more than `per_party` slots, so that a party that floods the queue leaves slots for the others.
    Taking turns is not enough, because a flood that arrives first could otherwise fill all slots.
    """

    def __init__(self, slots: int, per_party: int) -> None:
        self._free = slots
        self._per_party = per_party
        self._running: dict[Party, int] = {}
        self._waiting: dict[Party, deque[asyncio.Future[None]]] = {}
        # The waiting parties that may use another slot. The first one is next.
        self._next: OrderedDict[Party, None] = OrderedDict()

    def has_slot_for(self, party: Party) -> bool:
        """Return whether `acquire` would not wait."""
        return self._free > 0 and self._running.get(party, 0) < self._per_party

    async def acquire(self, party: Party) -> None:
        """Wait for a slot. The caller must `release` it."""
        # If a slot is free, every waiting party has reached its limit, so this does not jump the queue.
        if self.has_slot_for(party):
            self._start(party)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(party, deque()).append(turn)
        self._line_up(party)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the slot was granted just before the cancellation
                self.release(party)
            raise

    def release(self, party: Party) -> None:
        """Free a slot, and grant it to the next party."""
        self._free += 1
        running = self._running.pop(party) - 1
        if running:
            self._running[party] = running
        self._line_up(party)
        while self._free and self._next:
            self._grant(self._next.popitem(last=False)[0])

    def _line_up(self, party: Party) -> None:
        if party in self._waiting and self._running.get(party, 0) < self._per_party:
            self._next.setdefault(party, None)

    def _grant(self, party: Party) -> None:
        queue = self._waiting[party]
        while queue:
            turn = queue.popleft()
            if not turn.done():  # otherwise it was canceled
                self._start(party)
                turn.set_result(None)
                break
        if not queue:
            del self._waiting[party]
        self._line_up(party)

    def _start(self, party: Party) -> None:
        self._free -= 1
        self._running[party] = self._running.get(party, 0) + 1
