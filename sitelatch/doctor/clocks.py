"""Compares the clock of the database with that of this machine."""

from collections.abc import Callable
from typing import Final

from sitelatch.doctor.dsns import URL, Dsns
from sitelatch.doctor.finding import Finding, Status
from sql.queries import query

_SERVER_CLOCK = query("server_clock")

_SAMPLES: Final = 3
_WARNING_SECONDS: Final = 1.0
_PROBLEM_SECONDS: Final = 30.0


async def clock_findings(dsns: Dsns, clock: Callable[[], float]) -> list[Finding]:
    """Return whether both clocks agree. `clock` returns the time of this machine in seconds since 1970."""
    if reason := dsns.why_unusable(URL):
        return [Finding(Status.SKIPPED, "clocks", reason)]
    samples = []
    for _ in range(_SAMPLES):
        before = clock()
        server: float = await dsns.connections[URL].fetchval(_SERVER_CLOCK)
        after = clock()
        samples.append((after - before, server - (before + after) / 2))
    # The quickest response is the most precise, because the server read its clock between the request and the response.
    taken, ahead = min(samples)
    apart = abs(ahead) - taken / 2
    if apart <= _WARNING_SECONDS:
        return [Finding(Status.OK, "clocks", "the database's clock agrees with that of this machine.")]
    direction = "ahead of" if ahead > 0 else "behind"
    message = f"the database's clock is {abs(ahead):.1f} s {direction} that of this machine, so keys do not expire at "
    message += "the time that was set. Synchronize both machines by NTP (chrony, systemd-timesyncd)."
    return [Finding(Status.PROBLEM if apart > _PROBLEM_SECONDS else Status.WARNING, "clocks", message)]
