"""Hostile spellings as bytes, through all pure steps: parser, hop-by-hop fields, routes, decision.

No socket is needed to find out whether a key for one site reaches another.
"""

from collections import Counter
from dataclasses import replace

import pytest

from proxy.decision.claim import Claim
from proxy.decision.grant import Grant
from proxy.decision.route_table import RouteTable
from proxy.http.headers import Fields
from proxy.http.hop_by_hop import clean_request
from proxy.http.request_header_names import RequestSpellings
from proxy.http.request_parser import RequestReader
from proxy.refusals import Refused
from proxy.settings import KeySettings, LimitSettings, RouteSettings
from tests.spellings import Expected, Shape, honest, spellings
from tests.unit.judging import covered, read

OWN, OTHER = "shop", "blog"
KEY = (b"X-API-Key", b"slk_" + b"A" * 38)


def forwarded(raw: bytes, table: RouteTable) -> tuple[Claim, tuple[str, ...]]:
    """Return the claim and the sites of the one request in `raw`, with a key for OWN only. Raises Refused."""
    head, rest = RequestReader(LimitSettings()).read(raw)
    assert head is not None, "the head is complete"
    assert rest == b""
    hop = clean_request(
        head,
        spellings=RequestSpellings(),
        trusted=False,
        judged=table.judged_names,
        trailer_bytes=1024,
    )
    claim = read(table, hop.head)
    return claim, covered(claim, Grant("1", "acme", all_sites=False, sites=frozenset({OWN})))


def folded(fields: Fields) -> set[bytes]:
    return {name.lower().replace(b"_", b"-") for name, _ in fields}


@pytest.mark.parametrize("shape", Shape, ids=lambda shape: shape.name)
def test_hostile_bytes_never_reach_another_site(shape: Shape) -> None:
    table = RouteTable([RouteSettings(name="data", upstream="http://127.0.0.1:1", sites=shape.value)], KeySettings())
    assert forwarded(honest(OWN, shape).raw(KEY), table)[1] == (OWN,)
    failures, passed = [], Counter[str]()
    for spelling in spellings(OWN, OTHER, shape):
        try:
            claim, sites = forwarded(spelling.raw(KEY), table)
        except Refused:
            continue
        passed[spelling.expected.name] += 1
        dropped = {name.replace(b"_", b"-") for name in spelling.drops}
        if spelling.expected is Expected.REFUSED or sites != (OWN,) or folded(claim.fields) & dropped:
            failures.append((spelling.name, spelling.raw(), sites))
        assert claim.target == spelling.forwarded
    assert failures == []
    assert passed["DROPPED"], "a request passes without the dropped fields"


def outcome(raw: bytes, table: RouteTable) -> object:
    """Return what is forwarded, or the code of the refusal."""
    try:
        claim, sites = forwarded(raw, table)
    except Refused as refused:
        return refused.refusal.code
    return claim.target, claim.fields, claim.key, sites


@pytest.mark.parametrize("shape", Shape, ids=lambda shape: shape.name)
def test_a_request_for_an_absolute_url_is_judged_like_one_for_its_path_and_query(shape: Shape) -> None:
    table = RouteTable([RouteSettings(name="data", upstream="http://127.0.0.1:1", sites=shape.value)], KeySettings())
    passed, different = 0, []
    for spelling in spellings(OWN, OTHER, shape):
        hosts = [value for name, value in spelling.fields if name.lower() == b"host"]
        if len(hosts) != 1 or not spelling.target.startswith(b"/"):
            continue
        plain = outcome(spelling.raw(KEY), table)
        url = outcome(replace(spelling, target=b"http://" + hosts[0] + spelling.target).raw(KEY), table)
        passed += isinstance(plain, tuple)
        if url != plain:
            different.append((spelling.name, plain, url))
    assert different == []
    assert passed
