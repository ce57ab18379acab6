"""The integrators' guide: complete, and adapted to each installation."""

import re
from pathlib import Path

from admin.integrators_guide import DEFAULT, DEFAULT_KEYS, guide, passages
from proxy import refusals
from proxy.refusals import Refusal
from proxy.settings import ProxySettings

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "integrators.md").read_text()


def test_every_refusal_has_a_row_with_its_status_and_advice() -> None:
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \| (\S.{10,}) \|$", TEXT, re.MULTILINE)
    real = {(refusal.code, refusal.status) for refusal in vars(refusals).values() if isinstance(refusal, Refusal)}
    assert {(code, int(status)) for status, code, _ in rows} == real
    assert len(rows) == len(real)


def test_the_guide_mentions_retry_after_where_it_is_sent() -> None:
    for refusal in vars(refusals).values():
        if isinstance(refusal, Refusal):
            [row] = re.findall(rf"^\| {refusal.status} \| `{refusal.code}` \|.*$", TEXT, re.MULTILINE)
            assert ("`Retry-After`" in row) == (refusal.retry_after_seconds is not None), row


def test_the_documented_guide_is_the_guide_for_the_default_installation() -> None:
    for passage in passages(DEFAULT, DEFAULT_KEYS):
        assert passage in TEXT
    assert guide(DEFAULT, DEFAULT_KEYS) == TEXT


def test_no_default_value_remains_in_the_guide_for_another_installation() -> None:
    proxy = ProxySettings.model_validate(
        {
            "public_url": "https://data.acme.test/v1/",
            "routes": [
                {
                    "name": "data",
                    "path": "/metrics",
                    "upstream": "http://127.0.0.1:9000",
                    "keys_from": ["basic", "cookie:key", "query:api_key"],
                    "sites": [
                        {"query": "idSite", "separator": ",", "all": "all"},
                        {"header": "S", "template": "eq.{site}"},
                    ],
                },
                {
                    "name": "more",
                    "path": "/more",
                    "upstream": "http://127.0.0.1:9000",
                    "sites": ["host:{site}.acme.test"],
                },
                {"name": "rest", "upstream": "http://127.0.0.1:9000"},
            ],
        }
    )
    text = guide(proxy, DEFAULT_KEYS)
    for default in ("data.example", "X-API-Key", "/api/sites", "X-Site"):
        assert default not in text
    assert "The address of the API is `https://data.acme.test/v1`." in text
    for passage in (
        "as the user name of HTTP Basic, with an empty password, or as the cookie `key`, or as the query parameter",
        "- under `/metrics` as the query parameter `idSite`, several separated by `,`, or `all` for all sites\n",
        "- under `/metrics` in the header `S`, written `eq.SITE`\n",
        "- under `/more` in the host name `SITE.acme.test`\n",
        "- under `/` nowhere: requests do not name a site\n",
        'curl -i -u "$API_KEY:" "https://data.acme.test/v1/metrics/?idSite=shop"\n',
    ):
        assert passage in text


def test_a_public_url_that_begins_with_the_default_one_replaces_it_completely() -> None:
    text = guide(DEFAULT.model_copy(update={"public_url": "https://data.example.com"}), DEFAULT_KEYS)
    assert text == TEXT.replace("https://data.example", "https://data.example.com")


def test_special_characters_are_escaped_in_the_examples() -> None:
    proxy = DEFAULT.model_copy(update={"public_url": 'https://a$b`"\\.test'})
    shell, python, script, *_ = passages(proxy, ("header:X",))
    assert r'"https://a\$b\`\"\\.test/' in shell
    assert r'URL = "https://a$b`\"\\.test/' in python
    assert r'const url = "https://a$b`\"\\.test/' in script
    proxy = DEFAULT.model_copy(update={"public_url": 'https://{a}$b`"\\.test'})
    _, python, script, *_ = passages(proxy, ("query:k",))
    assert r'URL = f"https://{{a}}$b`\"\\.test/api/sites/shop/?k={KEY}"' in python
    assert r"const url = `https://{a}\$b\`" in script
