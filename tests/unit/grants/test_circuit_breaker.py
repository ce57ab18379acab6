"""The circuit breaker: when it opens, and which lookup probes the database."""

import structlog

from proxy.grants.circuit_breaker import CircuitBreaker
from tests.scopes import Clock


def test_an_open_breaker_admits_one_probe_at_a_time() -> None:
    clock = Clock()
    breaker = CircuitBreaker("keys", clock)
    assert all(breaker.admits() for _ in range(3))
    breaker.failed("refused")
    assert breaker.is_open
    assert not breaker.admits(), "not immediately"
    clock.now += 1
    assert breaker.admits()
    assert not breaker.admits(), "a probe is in flight"
    breaker.failed("refused")
    breaker.probe_ended()
    assert not breaker.admits()
    clock.now += 1
    assert breaker.admits()
    breaker.succeeded()
    breaker.probe_ended()
    assert not breaker.is_open
    assert all(breaker.admits() for _ in range(3))


def test_a_late_failure_does_not_allow_a_second_probe() -> None:
    clock = Clock()
    breaker = CircuitBreaker("keys", clock)
    breaker.failed("refused")
    clock.now += 1
    assert breaker.admits()
    breaker.failed("no answer")
    clock.now += 1
    assert not breaker.admits()


def test_the_start_and_end_of_an_outage_are_logged_once() -> None:
    with structlog.testing.capture_logs() as lines:
        breaker = CircuitBreaker("keys", Clock())
        breaker.succeeded()
        breaker.failed("refused")
        breaker.failed("refused")
        breaker.succeeded()
        breaker.succeeded()
    assert [line["event"] for line in lines] == ["database_does_not_answer", "database_answers_again"]
