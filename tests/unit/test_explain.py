"""The output of `explain` for requests that it decides without the database."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import asyncpg
import pytest

from admin.api.explain import ExplainedRequest, Explainer, FrontDoorSettings
from admin.api.explanation import describe_forwarded
from proxy.decision.route_table import RouteTable
from proxy.decision.verdict import Verdict
from proxy.http.headers import Fields, Head
from proxy.settings import KeySettings, RouteSettings
from sitelatch.config_file import load
from tests.unit.judging import read

CONFIG = """
[[proxy.routes]]
name = "data"
upstream = "http://127.0.0.1:9000"
sites = ["path:/api/sites/{site}/**", "query:site", "host:{site}.example.com"]
public = ["GET /static/**"]
"""


async def explained(folder: Path, target: bytes, fields: Fields, *, config: str = CONFIG) -> str:
    file = folder / "sitelatch.toml"
    file.write_text(config)
    loaded = load(file, {})
    explainer = Explainer(FrontDoorSettings(loaded.proxy, loaded.limits, loaded.keys, loaded.grants))
    return (await explainer.explain(ExplainedRequest(b"GET", target, fields), no_database)).text


def no_database() -> AbstractAsyncContextManager[asyncpg.Pool]:
    raise AssertionError("this request is decided without the database")


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        (b"site=/blog", "query:site names /blog"),
        (b"site=%2Fblog", "query:site names /blog"),
        (b"site=a%1b%5b2J", r"query:site names 'a\x1b[2J'"),
        (b"site=a%C2%9Bb", r"query:site names 'a\x9bb'"),
        (b"site=b%C3%BCro", "query:site names büro"),
    ],
)
async def test_control_characters_in_a_named_site_are_escaped(tmp_path: Path, query: bytes, shown: str) -> None:
    text = await explained(tmp_path, b"/static/x?" + query, [])
    assert all(line.isprintable() for line in text.splitlines())
    assert shown in text


async def test_removed_headers_and_the_trailing_dot_of_the_host_are_reported(tmp_path: Path) -> None:
    text = await explained(tmp_path, b"/static/x", [(b"Host", b"Shop.example.com."), (b"TE", b"trailers")])
    assert "Not forwarded (hop-by-hop, set by Sitelatch, or never forwarded): TE.\n" in text
    assert "Host is forwarded without its final dot." in text
    assert "host:{site}.example.com names shop" in text


async def test_an_unchanged_head_is_reported_as_completely_forwarded(tmp_path: Path) -> None:
    text = await explained(tmp_path, b"/static/x", [(b"Host", b"shop.example.com")])
    assert "1. Head: well-formed. All of it is forwarded.\n2. " in text


@pytest.mark.parametrize(
    ("target", "host"), [(b"http://shop.example.com/static/x", None), (b"http://A.example/static/x", b"a.example")]
)
async def test_a_target_that_is_a_url_is_explained_as_its_path(
    tmp_path: Path, target: bytes, host: bytes | None
) -> None:
    text = await explained(tmp_path, target, [(b"Host", host)] if host else [])
    assert "The target is judged and forwarded as its path and query." in text
    assert "PASSES" in text


async def test_a_url_of_another_host_than_the_host_header_is_refused(tmp_path: Path) -> None:
    text = await explained(tmp_path, b"http://other.example/static/x", [(b"Host", b"a.example")])
    assert "400" in text
    assert "host or port differs from the Host header" in text


async def test_a_front_door_on_a_unix_socket_has_a_usual_host(tmp_path: Path) -> None:
    text = await explained(tmp_path, b"/static/x", [], config=f'[proxy]\nlisten = "unix:/run/x.sock"\n{CONFIG}')
    assert "PASSES" in text


@pytest.mark.parametrize(
    ("target", "fields", "detail"),
    [
        (b"/api/sites/shop/../blog", [], "The path contains a dot segment"),
        (b"/api/sites/sh%2Fop/x", [], "The path contains an encoded slash (`%2F`)"),
        (b"/api?SITE=shop", [], "this request contains another spelling of it"),
        (
            b"/api?site=shop",
            [(b"X-API-Key", b"a"), (b"Authorization", b"Bearer b")],
            "in the header `X-API-Key` and the",
        ),
        (b"/api", [(b"Host", b"a"), (b"Host", b"b")], "The request has more than one Host header."),
        (b"/a b", [], "separated by one space. Send exactly these three"),
    ],
)
async def test_a_refusal_has_the_detail_that_clients_get(
    tmp_path: Path, target: bytes, fields: Fields, detail: str
) -> None:
    assert detail in " ".join((await explained(tmp_path, target, fields)).split())


SHADOWED = CONFIG.replace('name = "data"', 'name = "data"\nmode = "shadow"')


@pytest.mark.parametrize("target", [b"/api/sites/shop/x", b"/api/sites/shop/../x"])
async def test_a_refusal_on_a_route_in_shadow_mode_is_explained_as_suspended(tmp_path: Path, target: bytes) -> None:
    text = await explained(tmp_path, target, [], config=SHADOWED)
    assert "REFUSED: 40" in text
    assert text.endswith(
        'The route "data" is in shadow mode, so the request is forwarded all the same, with its key and without '
        "identity headers."
    )


async def test_the_mode_of_the_route_is_explained(tmp_path: Path) -> None:
    text = await explained(tmp_path, b"/static/x", [], config=SHADOWED)
    assert "It is in shadow mode, so it forwards every request.\n" in text
    assert "shadow" not in await explained(tmp_path, b"/static/x", [])


@pytest.mark.parametrize(
    ("fields", "is_form"),
    [
        ([(b"Content-Type", b"application/x-www-form-urlencoded")], True),
        ([(b"Content-Type", b"multipart/form-data; boundary=b")], True),
        ([], True),  # some backends read it as a form
        ([(b"Content-Type", b"application/json")], False),
    ],
)
def test_a_form_that_is_forwarded_unread_is_reported(fields: Fields, is_form: bool) -> None:
    settings = {"name": "data", "upstream": "http://127.0.0.1:1", "sites": ["path:/sites/{site}/**"]}
    table = RouteTable([RouteSettings.model_validate(settings)], KeySettings())
    claim = read(table, Head(b"POST", b"/sites/shop/x", fields, has_body=True))
    text = "\n".join(describe_forwarded(claim, Verdict(None, claim), None))
    assert ('set form_body = "refuse"' in text) is is_form
