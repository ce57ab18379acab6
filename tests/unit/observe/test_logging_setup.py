"""The log lines of the process: JSON, from every logger, without secrets."""

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import pytest
import structlog

from proxy.observe.known_secrets import KnownSecrets
from proxy.observe.logging_setup import TextRenderer, configure_logging, log_uncaught_errors

KEY = "slk_" + "a1B2c3D4" * 4 + "9Zz9Zz"
TOKEN = "sla_" + "x7-_" * 11
PASSWORD = "S3cret/Pass wörd\\'\"＠"
SECRETS = KnownSecrets()
SECRETS.add([PASSWORD])


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hooks = threading.excepthook, sys.unraisablehook
    stream = io.StringIO()
    configure_logging(logging.StreamHandler(stream), secrets=SECRETS)
    yield stream
    threading.excepthook, sys.unraisablehook = hooks
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_every_logger_writes_json_lines(logged: io.StringIO) -> None:
    structlog.get_logger("sitelatch").info("started", listen="127.0.0.1:8080")
    logging.getLogger("asyncio").warning("slow %s", "callback")
    ours, theirs = map(json.loads, logged.getvalue().splitlines())
    assert ours["event"] == "started"
    assert ours["listen"] == "127.0.0.1:8080"
    assert theirs["event"] == "slow callback"
    assert theirs["logger"] == "asyncio"
    assert {"time", "level"} <= ours.keys() & theirs.keys()


def test_tracebacks_show_no_secrets_and_no_local_variables(logged: io.StringIO) -> None:
    def fail(secret: str) -> None:
        raise RuntimeError(f"no use for {secret}")

    try:
        fail(KEY)
    except RuntimeError:
        logging.getLogger("aiohttp.server").exception("failed with %s", TOKEN, exc_info=sys.exc_info())
    written = logged.getvalue()
    assert "RuntimeError: no use for ***" in json.loads(written)["exception"]
    assert KEY not in written
    assert TOKEN not in written


@pytest.mark.parametrize(
    "spelling",
    [
        PASSWORD,
        quote(PASSWORD),
        quote(PASSWORD, safe=""),
        quote(PASSWORD, safe="").lower(),
        quote_plus(PASSWORD),
        repr(PASSWORD),
        ascii(PASSWORD),
        repr(PASSWORD.encode()),
        json.dumps(PASSWORD),
        "postgresql://user:other@host/db",
        "host=h password='a b' user=u",
    ],
)
def test_database_passwords_are_masked_in_every_spelling(logged: io.StringIO, spelling: str) -> None:
    try:
        try:
            raise ValueError(f"invalid literal: {spelling}")
        except ValueError as error:
            raise RuntimeError(f"no use for {spelling}") from error
    except RuntimeError:
        structlog.get_logger("sitelatch").exception("failed", reason=spelling, each=[spelling, {"a": (spelling,)}])
        logging.getLogger("asyncio").exception("failed with %s", spelling)
    ours, theirs = map(json.loads, logged.getvalue().splitlines())
    for text in (json.dumps(ours, ensure_ascii=False), json.dumps(theirs, ensure_ascii=False)):
        assert "s3cret" not in text.lower()
        assert "other" not in text
        assert "a b" not in text
    assert "direct cause" in ours["exception"]
    assert "***" in ours["exception"]


def test_errors_that_nothing_catches_are_logged_as_json_without_secrets(logged: io.StringIO) -> None:
    class Broken:
        def __del__(self) -> None:
            raise RuntimeError(f"no use for {KEY}")

    def fail() -> None:
        raise RuntimeError(f"no use for {TOKEN}")

    log_uncaught_errors()
    Broken()
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    for line in map(json.loads, logged.getvalue().splitlines()):
        assert line["level"] == "error"
        assert "RuntimeError: no use for ***" in line["exception"]
    assert len(logged.getvalue().splitlines()) == 2


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({"level": "error", "event": "failed", "reason": "no such file"}, "error: no such file"),
        ({"level": "error", "event": "bad_config", "complaint": "f: wrong"}, "error: f: wrong"),
        (
            {"level": "error", "event": "database_unreachable", "reason": "refused"},
            "error: database unreachable: refused",
        ),
        ({"level": "info", "event": "listening", "front": ["a"], "time": "t"}, "info: listening (front=['a'])"),
        ({"level": "error", "event": "failed", "reason": "a\n\x1b[2Jb\x9b"}, r"error: a\n\x1b[2Jb\x9b"),
        (
            {"level": "critical", "event": "internal_error", "exception": "a\n  \tb"},
            "critical: internal error\na\n  \\tb",
        ),
    ],
)
def test_a_person_reads_text_without_control_characters(event: dict[str, object], line: str) -> None:
    assert TextRenderer(color=False)(None, "", event) == line


def test_errors_and_warnings_are_colored() -> None:
    renderer = TextRenderer(color=True)
    assert renderer(None, "", {"level": "warning", "event": "x"}) == "\x1b[33mwarning:\x1b[0m x"
    assert renderer(None, "", {"level": "info", "event": "x"}) == "info: x"
