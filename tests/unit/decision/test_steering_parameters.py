"""Query parameters from which known backends take the path, and names that only some backends read as another one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.decision.parameter_finder import Finder
from proxy.decision.parameter_names import Name
from proxy.http.steering_headers import STEERING_PARAMETERS
from tests.unit.judging import judge

QUERY = {"sites": [{"query": "site", "paths": ["/api/query"]}]}
PATH = {"sites": ["path:/api/sites/{site}/**"], "public": ["GET /static/**"]}


@pytest.mark.parametrize("name", [name for name, _, _ in STEERING_PARAMETERS])
def test_a_parameter_that_steers_a_known_backend_is_refused(name: str) -> None:
    raw = name.replace("*", "x").encode()
    for spelling in (raw, raw.upper(), b"%%%02x" % raw[0] + raw[1:], raw[:-1] + b"%%%02X" % raw[-1]):
        for query in (spelling + b"=/api/sites/blog/x", b"a=1&" + spelling, b"a=1;" + spelling + b"="):
            assert judge(PATH, b"/api/sites/shop/x?" + query) == "ambiguous_request"
            assert judge(PATH, b"/static/x?" + query, key=False) == "ambiguous_request"
            assert judge(QUERY, b"/api/query?site=shop&" + query) == "ambiguous_request"


@pytest.mark.parametrize(
    "query",
    [
        b"nxtPsite=blog",  # Next.js 16.4: edge routes and proxy.js
        b"nxtIsite=blog",
        b"../../blog/report:method=1",  # Zope 6.3, Plone
        b":method=../../blog/report",
        b":default_method=../../blog/report",
        b"../../blog/report:action=1",
        b"../../blog/report:method:utf8=1",
        b"../../blog/report%3amethod=1",
        b"../../blog/report%253Amethod",
        b"a%3D:method",
        b"a=:method&:method.x=1",
        b"rest_route=/api/sites/blog/x",  # WordPress
        b"rest.route=/api/sites/blog/x",
        b"CamelHttpPath=/blog",  # Apache Camel, CVE-2025-29891
        b"CamelAwsS3BucketName=blog",
        b"camelcasehttppath&camelhttppath=/blog",
        b"redirect:/blog",  # Struts
        b"x@CopyFrom=/content/blog",  # Sling
    ],
)
def test_a_steering_parameter_is_found_wherever_it_is(query: bytes) -> None:
    assert judge(PATH, b"/api/sites/shop/report?" + query) == "ambiguous_request"


@pytest.mark.parametrize(
    "query",
    [
        b"action=x&method=get&format=json&default_action=1&redirect=/x&dest=a&route=b&copyfrom=c",
        b"q=a:method&filter=level:action,x:method&m=Visits:method",
        b"type:methods=1&ns:actions=2&x:methodical=3",
        b"next=1&nx=2&nxt=3&xnxtpa=4",
        b"camelCase=true&camel_case=1&camelize=1&camel-case=1",
        b"email=a@copyfrom.example&rest_routes=1&page:size=10",
        b"state:eq=open&created:gte=2026-01-01",
    ],
)
def test_an_ordinary_parameter_does_not_steer(query: bytes) -> None:
    assert judge(PATH, b"/api/sites/shop/report?" + query) == ("shop",)
    assert judge(QUERY, b"/api/query?site=shop&" + query) == ("shop",)


@pytest.mark.parametrize(
    "name",
    [
        b"s%C4%B1te",  # Java: "s\u0131te".equalsIgnoreCase("site")
        b"s%C4%B0te",
        b"S%C4%B0TE",
        b"%uff53ite",  # classic ASP maps full-width letters
        b"%EF%BD%93ite",
        b"s%C3%ADte",  # and accented ones
        b"si%CC%81te",
        b"%CF%83ite",  # and Greek ones
        b"site:utf8",  # Zope's converters
        b"site:list",
        b"site:utf8:ustring",
        b"SITE:int",
        b"s%ite",  # classic ASP drops a `%` that begins no escape
        b"%01site",
        b"si%FFte",  # bytes that are not UTF-8
        b"site%25E9",
        b"si%C2%ADte",  # a soft hyphen, a byte order mark, and a space without a width
        b"%EF%BB%BFsite",
        b"site%E2%80%8B",
    ],
)
def test_a_name_that_some_backend_reads_as_a_site_parameter_is_ambiguous(name: bytes) -> None:
    assert judge(QUERY, b"/api/query?site=shop&" + name + b"=blog") == "ambiguous_request"
    assert judge(QUERY, b"/api/query?" + name + b"=shop") == "ambiguous_request"


@pytest.mark.parametrize(
    "name", [b"gr%C3%B6%C3%9Fe", b"%E3%82%B5%E3%82%A4%E3%83%88", b"sit%C3%A9s", b"visite:utf8", b"%FFsites", b"50%site"]
)
def test_a_foreign_name_that_resembles_no_site_parameter_passes(name: bytes) -> None:
    assert judge(QUERY, b"/api/query?site=shop&" + name + b"=1") == ("shop",)


_TOKENS = ["nxt", "p", "P", "x", "_", "=", "&", ";", "?", "camel", "case", "http", "%6E", "+", "[", "a"]


@given(st.lists(st.sampled_from(_TOKENS), max_size=10).map("".join))
def test_the_shortcut_for_plain_queries_misses_no_name_with_a_wanted_prefix(text: str) -> None:
    finder = Finder([Name("nxtp", prefix=True), Name("camel", prefix=True, unless="(?!case)")])
    if finder.is_silent(text.encode()):
        assert finder.find(finder.split(text.encode())) == []
