"""Fixtures and Hypothesis settings for all tests."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.database"]

# No deadline: how long an example takes depends on the machine, and is not part of what the tests check.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")
