"""Sitelatch in front of Datasette with real CSV data. Each database is a site."""

import csv
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

from tests.acceptance.harness import START_SECONDS, Sitelatch, User
from tests.acceptance.wire import Message, connect
from tests.ports import free_port
from tests.spellings import Expected, Shape, spellings

SITES = {
    "climate": ("seattle-weather", "seattle-temps", "sf-temps"),
    "markets": ("stocks", "us-employment", "iowa-electricity"),
}
OF_MARKETS = (b"MSFT", b"AMZN", b"nonfarm", b"Fossil Fuels", b"us_employment", b"iowa_electricity")
"""Words that occur only in the rows, columns and tables of the site markets."""

Rows = list[list[str]]


def read_csv(name: str) -> Rows:
    """Return a real CSV file of vega_datasets, including its header."""
    source = files("vega_datasets").joinpath("_data", f"{name}.csv")
    return list(csv.reader(source.read_text(encoding="utf-8").splitlines()))


def table_of(name: str) -> str:
    return name.replace("-", "_")


def build(folder: Path, site: str) -> Path:
    """Create a database from the CSV files of a site. All values stay text."""
    file = folder / f"{site}.db"
    with sqlite3.connect(file) as database:
        for name in SITES[site]:
            header, *rows = read_csv(name)
            columns = ", ".join(f'"{column}" TEXT' for column in header)
            database.execute(f'CREATE TABLE "{table_of(name)}" ({columns})')
            marks = ", ".join("?" * len(header))
            database.executemany(f'INSERT INTO "{table_of(name)}" VALUES ({marks})', rows)  # noqa: S608 - our names
        # The spellings request `x` on every backend.
        database.execute(f'CREATE VIEW x AS SELECT * FROM "{table_of(SITES[site][0])}"')  # noqa: S608 - our names
    database.close()
    return file


@pytest.fixture(scope="module")
def datasette(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a running Datasette."""
    folder = tmp_path_factory.mktemp("datasette")
    port = free_port()
    with (folder / "output.log").open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "datasette",
                "serve",
                *(str(build(folder, site)) for site in SITES),
                "-p",
                str(port),
            ],
            stdout=output,
            stderr=output,
        )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + START_SECONDS
    try:
        while True:
            try:
                httpx.get(f"{url}/-/versions.json", trust_env=False).raise_for_status()
                break
            except httpx.TransportError:
                assert process.poll() is None, (folder / "output.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


@dataclass(frozen=True)
class Door:
    """Sitelatch in front of Datasette, with a key for each site."""

    latch: Sitelatch
    climate: User
    markets: User
    everything: User


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, database_url: str, datasette: str) -> Iterator[Door]:
    route = {
        "name": "datasette",
        "path": "/",
        "upstream": datasette,
        "sites": ["path:/{site}.json", "path:/{site}/**"],
    }
    latch = Sitelatch(tmp_path_factory.mktemp("latch"), database_url, [route])
    latch.start()
    try:
        with latch.admin_client() as admin:
            admin.post("/workspaces", json={"name": "acme"}).raise_for_status()
            for site in SITES:
                admin.put(f"/sites/{site}", json={"workspace": "acme"}).raise_for_status()
        yield Door(
            latch,
            latch.create_user("acme", "climate"),
            latch.create_user("acme", "markets"),
            latch.create_user("acme", all_sites=True),
        )
    finally:
        latch.stop()


Get = Callable[[str, str], tuple[int, bytes]]
"""A real HTTP client. It gets a URL and a key, and returns the status and the body."""


def get_with_curl(url: str, key: str) -> tuple[int, bytes]:
    done = subprocess.run(
        ["curl", "-sS", "--compressed", "--noproxy", "*", "-w", "\n%{http_code}", "-H", f"X-API-Key: {key}", url],
        capture_output=True,
        check=True,
        timeout=60,
    )
    body, _, status = done.stdout.rpartition(b"\n")
    return int(status), body


def get_with_requests(url: str, key: str) -> tuple[int, bytes]:
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(url, headers={"Authorization": f"Bearer {key}"}, timeout=60)
        return answer.status_code, answer.content


def get_with_httpx(url: str, key: str) -> tuple[int, bytes]:
    with (
        httpx.Client(trust_env=False, timeout=60) as client,
        client.stream("GET", url, headers={"X-API-Key": key}) as answer,
    ):
        return answer.status_code, answer.read()


CLIENTS = pytest.mark.parametrize("get", [get_with_curl, get_with_requests, get_with_httpx])
TABLES = pytest.mark.parametrize(("site", "name"), [(site, name) for site in SITES for name in SITES[site]])


@CLIENTS
@TABLES
def test_a_key_can_stream_every_table_of_its_site_as_csv(door: Door, get: Get, site: str, name: str) -> None:
    user: User = getattr(door, site)
    status, body = get(f"{door.latch.url}/{site}/{table_of(name)}.csv?_stream=on&_size=max", user.key)
    assert status == 200
    header, *rows = csv.reader(body.decode().splitlines())
    expected_header, *expected = read_csv(name)
    # Datasette adds the row number in front if a table has no primary key.
    assert header[-len(expected_header) :] == expected_header
    assert [row[-len(expected_header) :] for row in rows] == expected


@CLIENTS
@TABLES
def test_a_key_can_read_every_table_of_its_site_as_json(door: Door, get: Get, site: str, name: str) -> None:
    user: User = getattr(door, site)
    header, *expected = read_csv(name)
    url: str | None = f"{door.latch.url}/{site}/{table_of(name)}.json?_size=max"
    rows: Rows = []
    while url is not None:
        status, body = get(url, user.key)
        assert status == 200
        page: dict[str, Any] = json.loads(body)
        rows += [row[-len(header) :] for row in page["rows"]]
        following = page.get("next")
        url = following and f"{door.latch.url}/{site}/{table_of(name)}.json?_size=max&_next={following}"
    assert rows == expected


@CLIENTS
def test_a_key_can_read_and_query_the_database_of_its_site(door: Door, get: Get) -> None:
    status, body = get(f"{door.latch.url}/climate.json", door.climate.key)
    assert status == 200
    assert {table["name"] for table in json.loads(body)["tables"]} >= {table_of(name) for name in SITES["climate"]}
    query = "select%20count(*)%20as%20n%20from%20seattle_weather%20where%20weather%20%3D%20%27sun%27"
    status, body = get(f"{door.latch.url}/climate.json?sql={query}&_shape=array", door.climate.key)
    assert (status, json.loads(body)) == (200, [{"n": sum(row[-1] == "sun" for row in read_csv("seattle-weather"))}])


@CLIENTS
@pytest.mark.parametrize(
    "path",
    [
        "/markets.json",
        "/markets/stocks.json",
        "/markets/stocks.csv?_stream=on",
        "/markets/stocks/1.json",
        "/markets.json?sql=select+*+from+stocks",
        "/-/databases.json",
        "/-/config.json",
    ],
)
def test_a_key_cannot_read_another_site(door: Door, get: Get, path: str) -> None:
    status, body = get(door.latch.url + path, door.climate.key)
    assert (status, json.loads(body)["code"]) == (403, "site_not_allowed")


@CLIENTS
def test_an_all_sites_key_can_read_both_sites_and_nothing_else(door: Door, get: Get) -> None:
    for path, expected in (("/markets/stocks.json", 200), ("/climate/sf_temps.json", 200), ("/-/databases.json", 403)):
        status, _ = get(door.latch.url + path, door.everything.key)
        assert status == expected


HOSTILE = [
    # Spellings that are specific to Datasette, in addition to the general ones in tests/spellings.py.
    "/~6Darkets/stocks.json",
    "/~6darkets/stocks.json",
    "/climate~2F..~2Fmarkets/stocks.json",
    "/markets~2Fstocks.json",
    "/markets-abcdef0/stocks.json",
    "/climate/stocks.json?_db=markets",
    "/climate.json?sql=select+*+from+markets.stocks",
    "/climate.json?sql=attach+database+'markets.db'+as+markets",
    "/climate/seattle_weather.json?_where=1=1+union+select+*+from+markets.stocks",
    "/_memory.json?sql=select+*+from+markets.stocks",
    "/climate/markets/stocks.json",
    "/climate.json/../markets/stocks.json",
    "/MARKETS/stocks.json",
    "/Markets.json",
    "/markets.JSON",
    "/markets.csv",
    "/markets",
    "/markets/",
    "//markets/stocks.json",
    "/./markets/stocks.json",
    "/climate/..%2fmarkets/stocks.json",
    "/climate/%2e%2e/markets/stocks.json",
    "/climate/..;/markets/stocks.json",
    "/climate%2f..%2fmarkets/stocks.json",
    "/%6darkets/stocks.json",
    "/%256darkets/stocks.json",
    "/markets%2fstocks.json",
    "/markets%00/stocks.json",
    "/markets%20/stocks.json",
    "/markets;x/stocks.json",
    "/markets.json;x",
    "/climate.json%2f..%2fmarkets.json",
    "\\markets\\stocks.json",
    "/climate\\..\\markets\\stocks.json",
]


async def send(door: Door, raw: bytes) -> Message:
    """Send raw bytes, and return the response."""
    async with connect(door.latch.address) as client:
        await client.send(raw)
        return await client.answer("HEAD" if raw.startswith(b"HEAD ") else "GET", seconds=30)


def mentions_markets(answer: Message) -> bool:
    return any(word in answer.raw_head + answer.body for word in OF_MARKETS)


async def test_responses_from_the_other_site_contain_its_marker_words(door: Door) -> None:
    for path, word in (
        ("/stocks.json", b"MSFT"),
        ("/us_employment.json", b"nonfarm"),
        ("/iowa_electricity.json", b"Fossil Fuels"),
        ("/x", b"MSFT"),
        (".json", b"us_employment"),
    ):
        status, body = get_with_httpx(f"{door.latch.url}/markets{path}", door.markets.key)
        assert (status, word in body) == (200, True)
        status, body = get_with_httpx(f"{door.latch.url}/climate{path}", door.climate.key)
        assert word not in body


@pytest.mark.parametrize("target", HOSTILE)
async def test_no_spelling_specific_to_datasette_reaches_another_site(door: Door, target: str) -> None:
    raw = f"GET {target} HTTP/1.1\r\nHost: a\r\nX-API-Key: {door.climate.key}\r\n\r\n"
    assert not mentions_markets(await send(door, raw.encode()))


async def test_no_spelling_from_the_general_list_reaches_another_site(door: Door) -> None:
    key = (b"X-API-Key", door.climate.key.encode())
    wrong = []
    for spelling in spellings("climate", "markets", Shape.DATASETTE):
        answer = await send(door, spelling.raw(key))
        refused = answer.one("Content-Type") == b"application/problem+json" and answer.status >= 400
        if mentions_markets(answer) or (spelling.expected is Expected.REFUSED and not refused):
            wrong.append((spelling.name, spelling.target, answer.start))
    assert wrong == []
