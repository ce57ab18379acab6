"""When the database is taken to be down, and who finds out that it is back."""

import structlog

from proxy.grants.circuit_breaker import CircuitBreaker
from tests.scopes import Clock


def test_one_lookup_at_a_time_tries_a_database_that_is_down() -> None:
    clock = Clock()
    breaker = CircuitBreaker("keys", clock)
    assert all(breaker.admits() for _ in range(3))
    breaker.failed("refused")
    assert breaker.is_open
    assert not breaker.admits(), "not at once again"
    clock.now += 1
    assert breaker.admits()
    assert not breaker.admits(), "one is on its way"
    breaker.failed("refused")
    breaker.probe_ended()
    assert not breaker.admits()
    clock.now += 1
    assert breaker.admits()
    breaker.succeeded()
    breaker.probe_ended()
    assert not breaker.is_open
    assert all(breaker.admits() for _ in range(3))


def test_a_lookup_from_before_the_outage_that_fails_late_lets_no_second_probe_out() -> None:
    clock = Clock()
    breaker = CircuitBreaker("keys", clock)
    breaker.failed("refused")
    clock.now += 1
    assert breaker.admits()
    breaker.failed("no answer")
    clock.now += 1
    assert not breaker.admits()


def test_an_outage_is_told_once_and_its_end_too() -> None:
    with structlog.testing.capture_logs() as lines:
        breaker = CircuitBreaker("keys", Clock())
        breaker.succeeded()
        breaker.failed("refused")
        breaker.failed("refused")
        breaker.succeeded()
        breaker.succeeded()
    assert [line["event"] for line in lines] == ["database_does_not_answer", "database_answers_again"]
