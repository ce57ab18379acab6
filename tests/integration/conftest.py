"""Fixtures for all integration tests."""

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from proxy.observe.logging_setup import configure_logging


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """The output of all loggers at level DEBUG."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging(logging.StreamHandler(stream), level=logging.DEBUG)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
