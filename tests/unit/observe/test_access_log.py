"""Log lines: what they hold, and what they never hold."""

import asyncio
import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog

from proxy.observe.access_log import AccessLog, configure_logging, mask, public_path

KEY = "slk_" + "a1B2c3D4" * 4 + "9Zz9Zz"
TOKEN = "sla_" + "x7-_" * 11


def write(log: AccessLog, **other: Any) -> None:
    exchange: dict[str, Any] = {
        "request_id": "r-1",
        "client": "192.0.2.7",
        "method": b"GET",
        "path": b"/api/sites/shop/uptime",
        "status": 200,
        "outcome": "passed",
        "route": "data",
        "user_id": "6f1c9a52-7a51-4a67-8f39-000000000001",
        "sites": ("shop",),
        "seconds": 0.01234,
        "upstream_seconds": 0.01,
        "bytes_in": 0,
        "bytes_out": 1024,
    }
    log.write(**(exchange | other))


async def lines(access: Literal["all", "refused", "off"] = "all", *exchanges: dict[str, Any]) -> list[dict[str, Any]]:
    stream = io.BytesIO()
    log = AccessLog(stream, access)
    for exchange in exchanges:
        write(log, **exchange)
    log.flush()
    return [json.loads(line) for line in stream.getvalue().decode("ascii").splitlines()]


async def test_a_line_says_all_about_an_exchange() -> None:
    [line] = await lines("all", {})
    assert line.pop("time").endswith("Z")
    assert line == {
        "event": "exchange",
        "request_id": "r-1",
        "client": "192.0.2.7",
        "method": "GET",
        "path": "/api/sites/shop/uptime",
        "status": 200,
        "outcome": "passed",
        "route": "data",
        "user_id": "6f1c9a52-7a51-4a67-8f39-000000000001",
        "sites": ["shop"],
        "ms": 12.34,
        "upstream_ms": 10.0,
        "bytes_in": 0,
        "bytes_out": 1024,
    }


async def test_what_is_not_known_is_null() -> None:
    [line] = await lines("all", {"user_id": None, "upstream_seconds": None, "sites": ()})
    assert (line["user_id"], line["upstream_ms"], line["sites"]) == (None, None, [])


@pytest.mark.parametrize(
    ("access", "outcomes"),
    [("all", ["passed", "invalid_key"]), ("refused", ["invalid_key"]), ("off", [])],
)
async def test_which_lines_are_written_is_a_choice(
    access: Literal["all", "refused", "off"], outcomes: list[str]
) -> None:
    written = await lines(access, {}, {"outcome": "invalid_key", "status": 401})
    assert [line["outcome"] for line in written] == outcomes


async def test_hostile_bytes_stay_inside_their_line() -> None:
    hostile = b'/a"b\\c\nd\x00\x1b[31m\xff\xe2\x80\xa8'
    other = {"path": hostile, "sites": ('"\n\u2028\udc80',), "method": b'G"\nT', "client": 'fe80::1%"\n'}
    [line] = await lines("all", other)
    assert line["path"] == hostile.decode("latin-1")
    assert line["sites"] == ['"\n\u2028\udc80']
    assert line["method"] == 'G"\nT'


@pytest.mark.parametrize(
    "path",
    [
        f"/{KEY}/x",
        f"/a;api_key={KEY}/x",
        f"/a?api_key={KEY}",
        f"/{KEY[:20]}",  # cut short
        f"/{KEY.upper()}",
        f"/%73lk_{KEY[4:]}",
        f"/slk%5F{KEY[4:]}",
        f"/slk%255f{KEY[4:]}",
        f"/slk%25{'25' * 30}5f{KEY[4:]}",  # encoded more often than anybody decodes
        "/" + "".join(f"%{ord(letter):02x}" for letter in KEY),
        f"http://{KEY}:x@example.com/x",
        f"//user:{KEY}@example.com/x",
        f"{KEY}",
        f"/admin/{TOKEN}",
    ],
)
async def test_a_secret_in_the_path_is_never_written(path: str) -> None:
    [line] = await lines("all", {"path": path.encode()})
    written = json.dumps(line)
    assert KEY[4:12].lower() not in written.lower()
    assert "%61%31%42" not in written
    assert TOKEN[4:] not in written


@pytest.mark.parametrize("path", ["/api/sites/shop", "/a_b/c%20d", "/slk", "/risk_assessment", "/100%"])
def test_ordinary_paths_are_left_as_they_came(path: str) -> None:
    assert public_path(path.encode()) == path


async def test_a_key_named_as_a_site_is_never_written() -> None:
    [line] = await lines("all", {"sites": ("shop", KEY, KEY.replace("_", "%5f")), "method": KEY.encode()})
    assert line["sites"] == ["shop", "***", "***"]
    assert KEY not in json.dumps(line)


async def test_a_log_line_shows_the_first_32_sites_that_a_request_names() -> None:
    [line] = await lines("all", {"sites": tuple(f"s{number}" for number in range(5000))})
    assert line["sites"] == [*(f"s{number}" for number in range(32)), "…"]


async def test_a_site_longer_than_any_id_is_masked() -> None:
    [line] = await lines("all", {"sites": ("a" * 255, "a" * 257)})
    assert line["sites"] == ["a" * 255, "***"]


async def test_a_key_in_a_path_of_many_segments_masks_the_whole_path() -> None:
    [line] = await lines("all", {"path": f"/{KEY}".encode() + b"/%25" * 32})
    assert line["path"] == "***"


async def test_lines_wait_a_moment_and_come_together_by_themselves() -> None:
    class Stream(io.BytesIO):
        batches = 0
        written = asyncio.Event()

        def flush(self) -> None:
            self.batches += 1
            self.written.set()

    stream = Stream()
    log = AccessLog(stream, "all")
    for _ in range(3):
        write(log)
    assert stream.batches == 0
    async with asyncio.timeout(10):
        await stream.written.wait()
    assert stream.batches == 1
    assert len(stream.getvalue().splitlines()) == 3


async def test_a_busy_proxy_s_lines_do_not_pile_up() -> None:
    stream = io.BytesIO()
    log = AccessLog(stream, "all")
    for _ in range(1000):
        write(log)
    assert len(stream.getvalue().splitlines()) > 800
    log.flush()
    assert len(stream.getvalue().splitlines()) == 1000


async def test_a_reader_of_the_log_that_went_away_fails_no_exchange() -> None:
    class Gone(io.BytesIO):
        def flush(self) -> None:
            raise BrokenPipeError

    log = AccessLog(Gone(), "all")
    for _ in range(1000):
        write(log)


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging(stream)
    yield stream
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


def test_errors_show_where_but_not_what_the_variables_held(logged: io.StringIO) -> None:
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


def test_masking_leaves_the_rest_of_a_sentence() -> None:
    assert mask(f"key {KEY}, token {TOKEN}.") == "key ***, token ***."
