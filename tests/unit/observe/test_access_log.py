"""The lines of the access log: what they contain, and what they never contain."""

import asyncio
import io
import json
from typing import Any, Literal

import pytest

from proxy.observe.access_log import AccessLog

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
        "upstream_error": None,
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


async def test_a_log_line_describes_one_exchange() -> None:
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
        "upstream_error": None,
        "bytes_in": 0,
        "bytes_out": 1024,
    }


async def test_a_line_has_the_verdict_of_a_route_in_shadow_mode() -> None:
    [line] = await lines("all", {"shadow": "site_not_allowed"})
    assert list(line)[-2:] == ["bytes_out", "shadow"]
    assert line["shadow"] == "site_not_allowed"


@pytest.mark.parametrize(
    ("outcome", "shadow", "logged"),
    [
        ("passed", "", False),
        ("passed", "passed", False),
        ("passed", "undecided", False),
        ("passed", "invalid_key", True),
        ("upstream_broken", "passed", True),
    ],
)
async def test_the_log_of_refused_requests_contains_those_that_shadow_mode_forwarded(
    outcome: str, shadow: str, *, logged: bool
) -> None:
    assert bool(await lines("refused", {"outcome": outcome, "shadow": shadow})) is logged


async def test_unknown_values_are_logged_as_null() -> None:
    [line] = await lines("all", {"user_id": None, "upstream_seconds": None, "sites": ()})
    assert (line["user_id"], line["upstream_ms"], line["sites"]) == (None, None, [])


@pytest.mark.parametrize(
    ("access", "outcomes"),
    [("all", ["passed", "invalid_key"]), ("refused", ["invalid_key"]), ("off", [])],
)
async def test_the_access_log_setting_selects_which_exchanges_are_logged(
    access: Literal["all", "refused", "off"], outcomes: list[str]
) -> None:
    written = await lines(access, {}, {"outcome": "invalid_key", "status": 401})
    assert [line["outcome"] for line in written] == outcomes


async def test_hostile_bytes_are_escaped_and_stay_on_one_line() -> None:
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
        f"/slk%25{'25' * 30}5f{KEY[4:]}",  # encoded more often than it is decoded
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


async def test_a_key_sent_in_place_of_a_site_is_never_written() -> None:
    [line] = await lines("all", {"sites": ("shop", KEY, KEY.replace("_", "%5f")), "method": KEY.encode()})
    assert line["sites"] == ["shop", "***", "***"]
    assert KEY not in json.dumps(line)


async def test_a_log_line_lists_the_first_32_sites_of_a_request() -> None:
    [line] = await lines("all", {"sites": tuple(f"s{number}" for number in range(5000))})
    assert line["sites"] == [*(f"s{number}" for number in range(32)), "…"]


async def test_a_site_longer_than_any_valid_id_is_masked() -> None:
    [line] = await lines("all", {"sites": ("a" * 255, "a" * 257)})
    assert line["sites"] == ["a" * 255, "***"]


async def test_a_key_in_a_path_of_many_segments_masks_the_whole_path() -> None:
    [line] = await lines("all", {"path": f"/{KEY}".encode() + b"/%25" * 32})
    assert line["path"] == "***"


async def test_log_lines_are_written_in_batches_without_an_explicit_flush() -> None:
    class Stream(io.BytesIO):
        batches = 0
        written = asyncio.Event()

        def write(self, data: Any) -> int:
            self.batches += 1
            self.written.set()
            return super().write(data)

    stream = Stream()
    log = AccessLog(stream, "all")
    for _ in range(3):
        write(log)
    assert stream.batches == 0
    async with asyncio.timeout(10):
        await stream.written.wait()
    assert stream.batches == 1
    assert len(stream.getvalue().splitlines()) == 3


async def test_a_full_batch_is_written_at_once() -> None:
    stream = io.BytesIO()
    log = AccessLog(stream, "all")
    for _ in range(1000):
        write(log)
    assert len(stream.getvalue().splitlines()) > 800
    log.flush()
    assert len(stream.getvalue().splitlines()) == 1000


async def test_a_line_names_the_error_of_the_upstream() -> None:
    [line] = await lines("all", {"outcome": "upstream_unreachable", "upstream_error": "certificate_expired"})
    assert line["upstream_error"] == "certificate_expired"


@pytest.mark.parametrize(
    "target",
    [
        "/api/sites/shop/uptime",
        "/api/sites/shop/uptime?key=" + KEY,
        "/reports/2026-11-30/q(1);v=2.0~,@:+*'!",
        "/snake_case/%41/100%25",
        '/"quoted"\\and\\escaped"',
        f"/files/{KEY}/x",
        f"/files/{TOKEN}",
        f"/%73lk_{KEY[4:]}",
        f"/slk%255f{KEY[4:]}",
    ],
)
@pytest.mark.parametrize("sites", [("shop",), ('a"b', "ü", KEY), tuple(map(str, range(9)))])
async def test_a_plain_exchange_gets_the_same_line_as_any_other(target: str, sites: tuple[str, ...]) -> None:
    stream = io.BytesIO()
    log = AccessLog(stream, wall_clock=lambda: 1_800_000_000.25)
    for _ in range(2):
        log.write_plain(1.0, b"r-1", "fe80::1", target.encode(), 200, "data", "ada", sites, 0.01234, 0.01, 99)
    write(log, client="fe80::1", path=target.encode(), user_id="ada", sites=sites, bytes_out=99)
    log.flush()
    assert len(set(stream.getvalue().splitlines())) == 1
    assert KEY[4:] not in stream.getvalue().decode()
