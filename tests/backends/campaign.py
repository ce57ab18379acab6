"""The test run of one backend: generate requests, decide, replay, compare, and shrink failures."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from tests.backends.client import Client, NoResponse
from tests.backends.door import Door, Sent
from tests.backends.oracle import Fault, faults, faults_sent
from tests.backends.request import Request
from tests.backends.rulesets import KEY, OTHER

_KEPT_OF_A_KIND = 6
"""The maximum number of failures per kind to shrink. Shrinking one failure takes some hundred requests."""
_OTHER = OTHER.encode()


@dataclass
class Failure:
    """A request that a backend interpreted differently from the decision."""

    request: Request
    sent: Sent
    faults: list[Fault]
    report: object

    def __str__(self) -> str:
        return "\n".join(
            (
                f"rule set `{self.request.rules}`; the decision found {self.sent.named}: {dict(self.sent.named_by)}",
                *(f"  {fault}" for fault in self.faults),
                *(f"    {line}" for line in self.request.shown().split("\n")),
                f"  the backend reported {self.report}",
            )
        )


@dataclass
class Outcome:
    """The counts and failures of a run."""

    generated: int = 0
    passed: int = 0
    plain: int = 0
    ordinary: int = 0
    ordinary_refused: list[tuple[Request, str]] = field(default_factory=list)
    replayed: int = 0
    reported: int = 0
    declined: int = 0
    silent: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    failed: int = 0
    excepted: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.generated:,} generated, {self.passed:,} passed ({self.plain:,} plain), {self.replayed:,} replayed, "
            f"{self.reported:,} reported, {self.declined:,} declined, {self.silent:,} without a response, "
            f"{self.failed:,} failed {dict(self.kinds) or ''}, {sum(self.excepted.values()):,} known exceptions, "
            f"{self.seconds:.0f} s"
        )


Excuse = Callable[[Request, Fault], str | None]
"""Return the reason why a backend may do this, or None."""


class Campaign:
    """Decides on requests, and compares the decisions with a backend."""

    def __init__(self, doors: Mapping[str, Door], client: Client, excuse: Excuse) -> None:
        self._doors = doors
        self._client = client
        self._excuse = excuse

    def run(self, requests: Iterable[Request], seconds: float) -> Outcome:
        """Decide on the requests and replay those that pass, within the time limit."""
        outcome = Outcome()
        start = time.monotonic()
        for request in requests:
            if time.monotonic() - start > seconds:
                break
            self._test(request, outcome)
        outcome.seconds = time.monotonic() - start
        outcome.failures = self._shrunk(outcome.failures)
        return outcome

    def _test(self, request: Request, outcome: Outcome) -> None:
        outcome.generated += 1
        outcome.ordinary += request.ordinary
        sent = self._decide(request)
        outcome.codes[sent.code] += 1
        if not sent.passed:
            if request.ordinary:
                outcome.ordinary_refused.append((request, sent.code))
            return
        outcome.passed += 1
        outcome.plain += sent.plainly
        outcome.replayed += 1
        found, report = self._compare(request, sent, outcome)
        if found:
            outcome.failed += 1
            kind = _kind(found)
            outcome.kinds[kind] += 1
            if outcome.kinds[kind] <= _KEPT_OF_A_KIND:
                outcome.failures.append(Failure(request, sent, found, report))

    def _decide(self, request: Request) -> Sent:
        return self._doors[request.rules].send(request.raw(KEY.encode()))

    def _compare(self, request: Request, sent: Sent, outcome: Outcome) -> tuple[list[Fault], object]:
        found = faults_sent(request, sent)
        try:
            response = self._client.send(sent.head, sent.body, may_reuse=sent.may_reuse)
        except NoResponse as error:
            outcome.silent += 1
            found.append(Fault("no response", f"the backend does not respond: {error}"))
            return self._without_known(request, found, outcome), None
        self._doors[request.rules].learn(response.fields)
        if response.surplus:
            found.append(Fault("two responses", "the backend read one request as two"))
        report = response.report
        if report is None:
            outcome.declined += 1
            return found, response.status
        outcome.reported += 1
        if str(report["id"]).encode() not in sent.head:
            found.append(Fault("two responses", "the backend responds to another request"))
            self._client.close()
        else:
            found += faults(request, sent, report)
        return self._without_known(request, found, outcome), report

    def _without_known(self, request: Request, found: list[Fault], outcome: Outcome) -> list[Fault]:
        """Return the faults that are not known exceptions, and count the known ones."""
        unexplained = []
        for fault in found:
            reason = self._excuse(request, fault)
            if reason is None:
                unexplained.append(fault)
            else:
                outcome.excepted[reason] += 1
        return unexplained

    def _shrunk(self, failures: list[Failure]) -> list[Failure]:
        """Shrink the failures, remove duplicates, and sort them by kind."""
        small: dict[tuple[str, str], Failure] = {}
        for failure in failures:
            shrunk = self._shrink(failure)
            small.setdefault((_kind(shrunk.faults), shrunk.request.shown()), shrunk)
        return sorted(small.values(), key=lambda failure: _kind(failure.faults))

    def _shrink(self, failure: Failure) -> Failure:
        """Remove parts of the request as long as it still fails in the same way."""
        kind = _kind(failure.faults)
        tries = 400
        changed = True
        while changed:
            changed = False
            for smaller in _smaller(failure.request):
                tries -= 1
                if not tries:
                    return failure
                sent = self._decide(smaller)
                if not sent.passed:
                    continue
                found, report = self._compare(smaller, sent, Outcome())
                if found and _kind(found) == kind:
                    failure = Failure(smaller, sent, found, report)
                    changed = True
                    break
        return failure


def _kind(found: list[Fault]) -> str:
    return found[0].kind


def _smaller(request: Request) -> Iterator[Request]:
    """Yield smaller versions of the request, each without one of its parts."""
    if request.body:
        yield replace(request, body=b"", chunked=False)
    if request.chunked:
        yield replace(request, chunked=False)
    if request.method != b"GET":
        yield replace(request, method=b"GET")
    if request.version != b"HTTP/1.1":
        yield replace(request, version=b"HTTP/1.1")
    for number in range(len(request.fields)):
        yield replace(request, fields=request.fields[:number] + request.fields[number + 1 :])
    target = request.target
    for size in (16, 8, 4, 2, 1):
        for start in range(1, len(target) - size + 1, max(1, size // 2)):
            shorter = target[:start] + target[start + size :]
            if shorter.count(_OTHER) == target.count(_OTHER):
                yield replace(request, target=shorter)
