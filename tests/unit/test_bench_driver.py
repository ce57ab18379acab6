"""The driver that runs the front door without sockets, for benchmarks and cost tests."""

from bench.driver import Driver
from proxy.http.headers import FOLDED
from tests.cost.heads import Shape
from tests.cost.setups import KEYS, SETUPS, SITE_KEY


async def test_the_driver_returns_the_forwarded_head() -> None:
    driver = Driver(SETUPS["default"])
    await driver.start()
    outcome = await driver.send(Shape(b"/api/sites/shop/report").head(SITE_KEY))
    assert outcome.code == "passed"
    assert outcome.forwarded.startswith(b"GET /api/sites/shop/report HTTP/1.1\r\nHost: shop.api.example.com\r\n")
    assert b"\r\nX-Api-Sites: shop\r\n" in outcome.forwarded
    assert SITE_KEY.encode() not in outcome.forwarded
    assert outcome.answer == b""


async def test_the_driver_returns_the_refusal_code() -> None:
    driver = Driver(SETUPS["full"])
    await driver.start()
    codes = {name: (await driver.send(Shape(b"/api/sites/blog/x").head(key))).code for name, key in KEYS.items()}
    assert codes["unknown key"] == "invalid_key"
    assert codes["no key"] == "missing_key"
    assert (await driver.send(b"GET / HTTP/1.1\r\n\r\n")).code == "bad_request"
    await driver.close()


async def test_forget_clears_header_names_cached_from_earlier_heads() -> None:
    driver = Driver(SETUPS["default"])
    await driver.start()
    driver.forget()  # other tests may have filled the cache
    head = Shape(fields=((b"X-Never-Seen", b"1"),)).head(SITE_KEY)
    await driver.send(head)
    assert b"X-Never-Seen" in FOLDED
    driver.forget()
    assert b"X-Never-Seen" not in FOLDED
    assert (await driver.send(head)).code == "passed"
