"""One backend's run: generate, judge, replay what passed, compare; shrink what failed."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from tests.backends.client import Client, NoAnswer
from tests.backends.door import Door, Sent
from tests.backends.oracle import Fault, faults, faults_sent
from tests.backends.request import Request
from tests.backends.rulesets import KEY, OTHER

_KEPT_OF_A_KIND = 6
"""Failures that are shrunk; shrinking costs some hundred requests each."""
_OTHER = OTHER.encode()


@dataclass
class Failure:
    """One request with which a backend did something else than was decided."""

    request: Request
    sent: Sent
    faults: list[Fault]
    report: object

    def __str__(self) -> str:
        return "\n".join(
            (
                f"rule set `{self.request.rules}`; the decision named {self.sent.named} by {dict(self.sent.named_by)}",
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
    honest: int = 0
    honest_refused: list[tuple[Request, str]] = field(default_factory=list)
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
            f"{self.generated:,} generated, {self.passed:,} passed, {self.replayed:,} replayed, "
            f"{self.reported:,} reported, {self.declined:,} declined, {self.silent:,} without an answer, "
            f"{self.failed:,} failed {dict(self.kinds) or ''}, {sum(self.excepted.values()):,} known exceptions, "
            f"{self.seconds:.0f} s"
        )


Excuse = Callable[[Request, Fault], str | None]
"""Return the reason why a backend may do this, or None."""


class Campaign:
    """Judge and backend, joined."""

    def __init__(self, doors: Mapping[str, Door], client: Client, excuse: Excuse) -> None:
        self._doors = doors
        self._client = client
        self._excuse = excuse

    def run(self, requests: Iterable[Request], seconds: float) -> Outcome:
        """Judge the requests and replay those that pass, for at most so long."""
        outcome = Outcome()
        began = time.monotonic()
        for request in requests:
            if time.monotonic() - began > seconds:
                break
            self._one(request, outcome)
        outcome.seconds = time.monotonic() - began
        outcome.failures = self._shrunk(outcome.failures)
        return outcome

    def _one(self, request: Request, outcome: Outcome) -> None:
        outcome.generated += 1
        outcome.honest += request.honest
        sent = self._judge(request)
        outcome.codes[sent.code] += 1
        if not sent.passed:
            if request.honest:
                outcome.honest_refused.append((request, sent.code))
            return
        outcome.passed += 1
        outcome.replayed += 1
        found, report = self._compare(request, sent, outcome)
        if found:
            outcome.failed += 1
            kind = _kind(found)
            outcome.kinds[kind] += 1
            if outcome.kinds[kind] <= _KEPT_OF_A_KIND:
                outcome.failures.append(Failure(request, sent, found, report))

    def _judge(self, request: Request) -> Sent:
        return self._doors[request.rules].send(request.raw(KEY.encode()))

    def _compare(self, request: Request, sent: Sent, outcome: Outcome) -> tuple[list[Fault], object]:
        found = faults_sent(request, sent)
        try:
            answer = self._client.ask(sent.head, sent.body, may_reuse=sent.may_reuse)
        except NoAnswer as error:
            outcome.silent += 1
            found.append(Fault("no answer", f"the backend does not answer: {error}"))
            return self._unexcused(request, found, outcome), None
        self._doors[request.rules].learn(answer.fields)
        if answer.surplus:
            found.append(Fault("two answers", "the backend took one request for two"))
        report = answer.report
        if report is None:
            outcome.declined += 1
            return found, answer.status
        outcome.reported += 1
        if str(report["id"]).encode() not in sent.head:
            found.append(Fault("two answers", "the backend answers another request"))
            self._client.close()
        else:
            found += faults(request, sent, report)
        return self._unexcused(request, found, outcome), report

    def _unexcused(self, request: Request, found: list[Fault], outcome: Outcome) -> list[Fault]:
        """Return the faults that are no known exceptions, and count those that are."""
        kept = []
        for fault in found:
            reason = self._excuse(request, fault)
            if reason is None:
                kept.append(fault)
            else:
                outcome.excepted[reason] += 1
        return kept

    # Shrinking.

    def _shrunk(self, failures: list[Failure]) -> list[Failure]:
        """Return the failures as small as they get, each once, one of each kind first."""
        small: dict[tuple[str, str], Failure] = {}
        for failure in failures:
            shrunk = self._shrink(failure)
            small.setdefault((_kind(shrunk.faults), shrunk.request.shown()), shrunk)
        return sorted(small.values(), key=lambda failure: _kind(failure.faults))

    def _shrink(self, failure: Failure) -> Failure:
        """Drop parts of the request for as long as it still fails in the same way."""
        kind = _kind(failure.faults)
        tries = 400
        changed = True
        while changed:
            changed = False
            for smaller in _smaller(failure.request):
                tries -= 1
                if not tries:
                    return failure
                sent = self._judge(smaller)
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
    """Yield the request without each of its parts."""
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
