"""Fixtures for the backend tests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.place import Place
from tests.database import temporary_database

COUNTS = "replayed"
"""The name of the test report property with the counts of a backend."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the counts of each backend, even if its test passed."""
    lines = [
        f"{name}: {value}"
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if getattr(report, "when", "") == "call" and str(name).startswith(COUNTS)
    ]
    if lines:
        terminalreporter.section("requests per backend")
        for line in sorted(lines):
            terminalreporter.write_line(line)


@pytest.fixture(scope="module")
def database_url(database_server: str) -> Iterator[str]:
    """A migrated, empty database for the module."""
    with temporary_database(database_server) as url:
        yield url


@pytest.fixture
def place() -> Iterator[Place]:
    """The directory and port of one backend. Servers that drop root privileges must be able to read the directory."""
    with tempfile.TemporaryDirectory(prefix="backend-") as folder:
        Path(folder).chmod(0o755)
        opened = Place(Path(folder))
        yield opened
        opened.stop()
