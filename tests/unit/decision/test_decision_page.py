"""docs/decision.md: every example has the stated outcome, and the steps are those of `decide`."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.decision import decide
from proxy.decision.api_keys import digest, new_key
from proxy.decision.grant import Grant
from proxy.decision.limits import read_limits
from proxy.decision.route_table import RouteTable
from proxy.decision.verdict import Verdict
from proxy.enforcement import Enforcement, Pending
from proxy.grants.cache import GrantCache
from proxy.grants.token_bucket import TokenBuckets
from proxy.http.hop_by_hop import clean_request
from proxy.http.request_header_names import RequestSpellings
from proxy.http.request_parser import RequestReader
from proxy.limits.user_limits import UserLimits
from proxy.observe.metrics import Metrics
from proxy.refusals import Refused
from proxy.settings import GrantSettings, LimitSettings
from sitelatch.config import Config
from sitelatch.config_file import load
from tests.scopes import Clock, MemoryScope

PAGE = (Path(__file__).parents[3] / "docs" / "decision.md").read_text(encoding="utf-8")
CONDITIONS: dict[str, dict[str, object]] = {
    "expired": {"expires_at": 1.0},
    "disabled": {"disabled": True},
    "office": {"networks": ["192.0.2.0/24"]},
    "elsewhere": {"networks": ["198.51.100.0/24"]},
    "reader": {"methods": ["GET", "HEAD", "OPTIONS"]},
    "poster": {"methods": ["GET", "POST"]},
    "busy": {"requests_per_second": 1.0},
}
KEYS = {name: new_key() for name in ("shop", "two", "acme", "globex", "unknown", "guess", "outage", *CONDITIONS)}
KEYS["malformed"] = KEYS["shop"][:-1] + ("A" if KEYS["shop"][-1] != "A" else "B")
ADDRESS, GUESSER = "192.0.2.1", "192.0.2.2"


@dataclass(frozen=True)
class Example:
    """One row of a table: a request, its key, and its outcome."""

    section: str
    line: str
    fields: tuple[str, ...]
    key: str
    outcome: str

    def __str__(self) -> str:
        return f"{self.section}: {self.line} {' '.join(self.fields)} ({self.key})"

    @property
    def raw(self) -> bytes:
        """The request as a client sends it."""
        lines = [f"{self.line} HTTP/1.1", *self.fields]
        key = KEYS.get(self.key, "")
        if key and not any("KEY" in line.replace("-Key", "") for line in lines):
            lines.append(f"X-API-Key: {key}")
        if not any(line.startswith("Host:") for line in lines):
            lines.append("Host: api.example.com")
        return "\r\n".join((*lines, "", "")).replace("KEY", key).encode()


def sections() -> dict[str, str]:
    """Return the text of each section of the page, by its heading."""
    parts = re.split(r"^## (.*)$", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def examples() -> Iterator[Example]:
    for section, text in sections().items():
        in_table = False
        for row in text.splitlines():
            if not row.startswith("|"):
                in_table = False
            elif row.endswith("| request | key | outcome |"):
                in_table = True
            elif in_table and not row.startswith("|---"):
                request, key, outcome = (cell.strip() for cell in row.strip("|").split(" | ")[-3:])
                line, *fields = re.findall(r"`([^`]*)`", request)
                yield Example(section, line, tuple(fields), key.strip("`"), outcome)


EXAMPLES = list(examples())


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The page's config."""
    [text] = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    file = tmp_path_factory.mktemp("page") / "sitelatch.toml"
    file.write_text(text)
    return load(file, {})


async def judged(config: Config, example: Example) -> str:
    """Return the outcome in the words of the page."""
    scope = MemoryScope()
    scope.sites = {"shop": "acme", "blog": "acme", "my shop": "acme", "my+shop": "acme", "wiki": "globex"}
    scope.add(digest(KEYS["shop"].encode()), "1", "shop")
    scope.add(digest(KEYS["two"].encode()), "2", "my shop", "my+shop")
    scope.add(digest(KEYS["acme"].encode()), "3", all_sites=True)
    scope.add(digest(KEYS["globex"].encode()), "4", all_sites=True, workspace="globex")
    for key, conditions in CONDITIONS.items():
        scope.add(digest(KEYS[key].encode()), key, "shop", **conditions)
    scope.add(digest(KEYS["outage"].encode()), "6", "shop")
    budget = TokenBuckets(1)
    budget.charge(GUESSER)
    if example.key == "outage":
        scope.down = OSError("gone")
    table = RouteTable(config.proxy.routes, config.keys)
    # The lane for clients over their budget is always full.
    grants = GrantCache(GrantSettings(), scope, on_lookup=lambda result: None, budget=budget, max_waiting_checks=0)
    limits = UserLimits(clock=Clock())
    enforcement = Enforcement(table, grants, Metrics(), on_use=lambda user: None, accept_foreign=False, limits=limits)
    limits.take(Grant("busy", "acme", False, frozenset(), limits=read_limits(1.0, None, None)), table.routes[0])
    try:
        raw, rest = RequestReader(LimitSettings(), table.methods).read(example.raw)
        assert raw is not None
        assert rest == b""
        hop = clean_request(
            raw,
            spellings=RequestSpellings(),
            trusted=False,
            judged=table.judged_names,
            trailer_bytes=1024,
        )
        verdict = enforcement.judge(hop.head)
        if isinstance(verdict, Pending):
            verdict = await enforcement.judge_slowly(verdict, GUESSER if example.key == "guess" else ADDRESS)
    except Refused as refused:
        verdict = Verdict(refused.refusal)
    finally:
        await grants.close()
    if verdict.refusal is not None:
        return f"{verdict.refusal.status} `{verdict.refusal.code}`"
    assert verdict.claim is not None
    if example.outcome == "passes":
        return "passes"
    if example.outcome.startswith("passes without "):
        kept = {name.lower() for name, _ in verdict.claim.fields}
        removed = [name for field in example.fields if (name := field.partition(":")[0]).lower().encode() not in kept]
        return f"passes without {', '.join(f'`{name}`' for name in removed)}"
    return f"passes as `{example.line.partition(' ')[0]} {verdict.claim.target.decode()}`"


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
async def test_an_example_on_the_page_has_the_stated_outcome(config: Config, example: Example) -> None:
    assert await judged(config, example) == example.outcome


def steps() -> dict[str, set[str]]:
    """Return the refusals of each step as the comments in decide.py state them, by the step's number and title."""
    found: dict[str, set[str]] = {}
    step = ""
    for comment in re.findall(r"^ *# *(.*)$", inspect.getsource(decide), re.MULTILINE):
        if title := re.match(r"(\d+\. [A-Z][a-z ]+): ", comment):
            step = title[1]
            found[step] = set()
        elif re.fullmatch(r"\d{3} [a-z_]+(, \d{3} [a-z_]+)*", comment):
            found[step] |= {"{} `{}`".format(*refusal.split(" ")) for refusal in comment.split(", ")}
    return found


def test_the_page_lists_the_steps_of_the_decision_in_order() -> None:
    numbered = [heading for heading in sections() if heading[0].isdecimal()]
    assert numbered == list(steps())
    assert [heading.partition(".")[0] for heading in numbered] == [str(n) for n in range(1, len(numbered) + 1)]


@pytest.mark.parametrize("step", steps())
def test_each_step_has_an_example_that_passes_and_one_for_each_refusal(step: str) -> None:
    outcomes = {example.outcome for example in EXAMPLES if example.section == step}
    assert any(outcome.startswith("passes") for outcome in outcomes)
    missing = steps()[step] - outcomes
    assert missing <= ({"503 `scope_unavailable`"} if step.endswith("Each named site") else set())
