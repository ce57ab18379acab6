"""Parameters, cookies and methods that real backends read differently from the literal reading."""

import pytest

from proxy.http.headers import Head
from proxy.refusals import Refused
from tests.unit.judging import EVERY_SITE, KEY, covered, judge, judge_whole, read, selected, table

ALL = {"sites": ["path:/api/sites/{site}/**", "query:site", "header:X-Site"]}
PATH = {"sites": ["path:/api/sites/{site}/**"]}


@pytest.mark.parametrize(
    "rest",
    [
        b"report%26site=blog",
        b"report&site=blog",
        b"x%3fsite=blog%26z=",
        b"x%26q=api/sites/blog/x",
        b"x%2526site=blog",
        b"x%253Fsite%253Dblog",
        b"x%23site=blog",
        b"x%26site",
        b"x%26SITE",
        b"x%26s%2569te",
        b"x;site=blog",
        b"x;a=1;site",
        b"x%3Bsite=blog",
        b"x%26_method=DELETE",
        b"x;site%3Dblog",
        b"x%3bsite%253Dblog",
        b"x;%73ite%3Dblog",
        b"x;_method%3DDELETE",
    ],
)
def test_a_parameter_in_the_path_is_ambiguous(rest: bytes) -> None:
    assert judge(ALL, b"/api/sites/shop/" + rest) == "ambiguous_request"


def test_a_parameter_in_the_path_that_no_rule_reads_is_ambiguous_too() -> None:
    assert judge(PATH, b"/api/sites/shop/x%26q=api/sites/blog/x") == "ambiguous_request"
    assert judge(PATH, b"/api/sites/shop/x%26site") == ("shop",)


def test_encoded_parameters_can_be_allowed() -> None:
    route = {**PATH, "encoded_parameters": "pass"}
    assert judge(route, b"/api/sites/shop/https%3A%2F%2Fa.example%2F%3Fa%3D1%26b%3D2") == ("shop",)


@pytest.mark.parametrize(
    "rest", [b"AT%26T.csv", b"what%3F.html", b"c%23", b"a%26b/c=d", b"100%25%26more", b"x;v=1", b"sites;jsessionid=1"]
)
def test_separators_without_a_parameter_pass(rest: bytes) -> None:
    assert judge(ALL, b"/api/sites/shop/" + rest) == ("shop",)


def test_a_public_path_with_a_parameter_is_not_public() -> None:
    route = {**ALL, "public": ["GET /static/**"]}
    assert judge(route, b"/static/app.js", key=False) == ()
    assert judge(route, b"/static/x%26site=blog", key=False) == "ambiguous_request"


@pytest.mark.parametrize(
    "query",
    [
        b"q=?site=blog&site=shop",
        b"site=shop&next=/x?site=blog",
        b"site=shop&a=1?SITE=blog",
        b"site=shop?x",
        b"site=shop;a=1",
        b"site=shop&q=a;site",
        b"site=shop&q=a;site=blog",
    ],
)
def test_separators_other_than_the_ampersand_are_ambiguous_around_a_site(query: bytes) -> None:
    assert judge(ALL, b"/api/data?" + query) == "ambiguous_request"


@pytest.mark.parametrize(
    "query", [b"site=shop&q=a;b", b"site=shop&q=a?b=c", b"site=shop&q=?site=shop", b"q=a;s&site=shop"]
)
def test_separators_other_than_the_ampersand_pass_elsewhere(query: bytes) -> None:
    assert judge(ALL, b"/api/data?" + query) == ("shop",)


@pytest.mark.parametrize("query", [b"site=shop;a=1", b"q=a;site", b"q=?site=blog", b"SITE=blog"])
def test_parameters_that_no_rule_reads_pass(query: bytes) -> None:
    assert judge(PATH, b"/api/sites/shop/x?" + query) == ("shop",)


def test_an_encoded_parameter_name_does_not_name_a_site() -> None:
    assert judge(ALL, b"/api/data?s%69te=shop") == "ambiguous_request"


@pytest.mark.parametrize(
    "query", [b"filter[site]=shop", b"filter%5Bsite%5D=shop", b"filter%5bsite%5d=shop&filter[a]=x"]
)
def test_encoded_reserved_characters_in_a_name_are_literal(query: bytes) -> None:
    assert judge({"sites": ["query:filter[site]"]}, b"/x?" + query) == ("shop",)


@pytest.mark.parametrize("query", [b"filter=x", b"filter=shop", b"%66ilter=shop", b"FILTER", b"filter.site=blog"])
def test_a_parameter_that_replaces_the_map_around_the_site_is_ambiguous(query: bytes) -> None:
    route = {"sites": ["query:filter[site]"]}
    assert judge(route, b"/x?filter[site]=shop&" + query) == "ambiguous_request"


def test_array_parameters_are_read_if_the_rule_allows_them() -> None:
    array = {"sites": [{"query": "site", "array": True}]}
    grant = selected("a", "b")
    assert judge(array, b"/x?site[0]=a&site[1]=b", grant=grant) == ("a", "b")
    assert judge(array, b"/x?site[]=a&site%5B%5D=b", grant=grant) == ("a", "b")
    assert judge(array, b"/x?site=a&site=b", grant=grant) == ("a", "b")
    assert judge(array, b"/x?site[0]=a&site[1]=c", grant=grant) == "site_not_allowed"
    assert judge(array, b"/x?site[x]=a", grant=grant) == "ambiguous_request"
    assert judge({"sites": ["query:site"]}, b"/x?site[0]=a", grant=grant) == "ambiguous_request"


def test_a_rule_can_have_several_templates() -> None:
    rule = {"query": "site_id", "templates": ["eq.{site}", "in.({site})"], "separator": ","}
    grant = selected("shop", "blog")
    assert judge({"sites": [rule]}, b"/x?site_id=eq.shop", grant=grant) == ("shop",)
    assert judge({"sites": [rule]}, b"/x?site_id=in.(shop,blog)", grant=grant) == ("shop", "blog")
    assert judge({"sites": [rule]}, b"/x?site_id=in.%28shop%2Cblog%29", grant=grant) == ("shop", "blog")
    assert judge({"sites": [rule]}, b"/x?site_id=in.(shop,wiki)", grant=grant) == "site_not_allowed"
    assert judge({"sites": [rule]}, b"/x?site_id=neq.shop", grant=grant) == "site_not_allowed"


# `+` in a value.


@pytest.mark.parametrize(
    ("sites", "outcome"),
    [
        (("my shop",), ("my shop",)),
        (("my+shop",), ("my+shop",)),
        (("blog",), "site_not_allowed"),
        (("my shop", "my+shop"), "ambiguous_request"),
    ],
)
def test_the_grant_decides_what_a_plus_means(sites: tuple[str, ...], outcome: object) -> None:
    assert judge(ALL, b"/api/data?site=my+shop", grant=selected(*sites)) == outcome


@pytest.mark.parametrize(
    ("owners", "outcome"),
    [
        ({"my shop": "acme"}, ("my shop",)),
        ({"my+shop": "acme", "my shop": "globex"}, ("my+shop",)),
        ({"my+shop": "acme", "my shop": "acme"}, "ambiguous_request"),
        ({"my+shop": "globex", "my shop": "globex"}, "site_not_allowed"),
        ({}, "site_not_allowed"),
    ],
)
def test_an_all_sites_key_passes_if_its_workspace_owns_one_reading_of_a_plus(
    owners: dict[str, str | None], outcome: object
) -> None:
    assert judge(ALL, b"/api/data?site=my+shop", grant=EVERY_SITE, owners=owners) == outcome


def test_a_site_with_an_encoded_plus_or_space_is_unambiguous() -> None:
    assert judge(ALL, b"/api/data?site=my%20shop", grant=selected("my shop", "my+shop")) == ("my shop",)
    assert judge(ALL, b"/api/data?site=my%2Bshop", grant=selected("my shop", "my+shop")) == ("my+shop",)


def test_every_plus_in_a_request_has_the_same_meaning() -> None:
    grant = selected("a b", "c+d")
    assert judge(ALL, b"/api/data?site=a+b&site=c+d", grant=grant) == "site_not_allowed"


# Encoded separators in a name. Servers that rewrite queries decode them.


@pytest.mark.parametrize(
    "name",
    [
        *(b"x%26site", b"x%3Bsite", b"x%3fsite", b"x%23site", b"%26site", b"a%3Db%26site", b"site%3Dblog", b"%3fsite"),
        *(b"x%2526site", b"x%26SITE", b"x%26s%69te", b"x%26site%5B%5D", b"x%26site%3Dblog", b"q%26+site"),
    ],
)
def test_an_encoded_separator_in_a_name_is_ambiguous(name: bytes) -> None:
    for query in (name + b"=blog&site=shop", b"site=shop&" + name, b"site=shop&a=1;" + name + b"=shop"):
        assert judge(ALL, b"/api/data?" + query) == "ambiguous_request"
    scoped = {"sites": ["path:/api/sites/{site}/**", {"query": "site", "paths": ["/api/data"]}]}
    assert judge(scoped, b"/api/sites/shop/x?" + name + b"=shop") == "ambiguous_request"
    shut = {"sites": ["path:/api/sites/{site}/**"], "refuse": ["query:site"]}
    assert judge(shut, b"/api/sites/shop/x?" + name + b"=1") == "ambiguous_request"


@pytest.mark.parametrize(
    "query",
    [
        b"redirect=https%3A%2F%2Fa.example%2F%3Fsite%3Dblog%26x%3D1",  # a value, such as a callback URL
        b"a%26b=1",
        b"x%26sites=1",
        b"x%3Fmysite=1",
        b"a%3Db",
    ],
)
def test_other_encoded_separators_are_treated_as_ordinary_characters(query: bytes) -> None:
    assert judge(ALL, b"/api/data?site=shop&" + query) == ("shop",)


# Cookies, which PHP merges into `$_REQUEST`.


@pytest.mark.parametrize(
    ("cookie", "outcome"),
    [
        (b"a=1; b=2", ("shop",)),
        (b"site=shop", ("shop",)),
        (b"a=1; site=blog", "ambiguous_request"),
        (b"s%69te=blog", "ambiguous_request"),
        (b"SITE=blog; a", "ambiguous_request"),
        (b"site[]=blog", "ambiguous_request"),
        (b"site=%62log", "ambiguous_request"),
        (b"site=", "ambiguous_request"),
        (b"site", "ambiguous_request"),
        (b"sites=blog; mysite=blog", ("shop",)),
        (b"site; a=1", "ambiguous_request"),
        (b"a=1; SITE", "ambiguous_request"),
        (b"x, site=blog", "ambiguous_request"),  # Zope
        (b"a=1,site=blog", "ambiguous_request"),
        (b'$Version=1; site="blog"; $Path="/"', "ambiguous_request"),
        (b"a=b,c; prefs=x,y,z", ("shop",)),
    ],
)
def test_a_cookie_must_not_name_a_different_site_than_the_query(cookie: bytes, outcome: object) -> None:
    assert judge(ALL, b"/api/data?site=shop", (b"Cookie", cookie)) == outcome


def test_a_cookie_named_like_a_site_parameter_is_refused_among_several_cookie_headers() -> None:
    # PHP reads `shop, x=1`.
    assert judge(ALL, b"/api/data?site=shop", (b"Cookie", b"site=shop"), (b"Cookie", b"x=1")) == "ambiguous_request"
    assert judge(ALL, b"/api/data?site=shop", (b"Cookie", b"a=shop"), (b"Cookie", b"x=1")) == ("shop",)


def test_cookies_are_ignored_if_so_configured_or_if_there_is_no_query_rule() -> None:
    cookie = (b"Cookie", b"site=blog")
    assert judge({**ALL, "cookies": "ignore"}, b"/api/data?site=shop", cookie) == ("shop",)
    assert judge(PATH, b"/api/sites/shop/x", cookie) == ("shop",)
    scoped = {"sites": ["path:/api/sites/{site}/**", {"query": "site", "paths": ["/api/data"]}]}
    assert judge({**scoped, "cookies": "ignore"}, b"/api/sites/shop/x", cookie) == ("shop",)
    assert judge(scoped, b"/api/data?site=shop", cookie) == "ambiguous_request"


@pytest.mark.parametrize(
    ("cookie", "outcome"),
    [
        (b"site=shop; theme=dark", ("shop",)),
        (b"site=blog", "site_not_allowed"),
        (b"SITE=blog", "site_not_allowed"),
        (b"a=1; site=%62log", "site_not_allowed"),
        (b"site=%2562log", "site_not_allowed"),
        (b"site=shop+", "site_not_allowed"),
        (b"site=", "site_not_allowed"),  # a rewriting server may read it as no site
    ],
)
def test_a_cookie_outside_the_rules_paths_names_only_sites_that_are_granted(cookie: bytes, outcome: object) -> None:
    route = {"sites": ["path:/api/sites/{site}/**", {"query": "site", "paths": ["/api/data"]}]}
    assert judge(route, b"/api/sites/shop/x", (b"Cookie", cookie)) == outcome
    assert judge(route, b"/api/sites/shop/x?site=shop", (b"Cookie", cookie)) == outcome


def test_a_cookie_outside_the_rules_paths_cannot_name_the_site() -> None:
    route = {"sites": ["path:/api/sites/{site}/**", {"query": "site", "paths": ["/api/data"]}]}
    assert judge(route, b"/api/reports", (b"Cookie", b"site=shop")) == "site_missing"
    lines = [(b"Cookie", b"site=shop"), (b"Cookie", b"x=1")]
    assert judge(route, b"/api/sites/shop/x", *lines) == "ambiguous_request"


@pytest.mark.parametrize("cookie", [b"urls=/api/sites/blog", b"a=1; URLS", b"urls[0]=x", b"%75rls=x", b"u%FFrls=x"])
def test_a_cookie_with_the_name_of_a_refused_parameter_is_ambiguous(cookie: bytes) -> None:
    route = {**PATH, "refuse": ["query:urls"], "public": ["GET /static/**"]}
    assert judge(route, b"/api/sites/shop/x", (b"Cookie", cookie)) == "ambiguous_request"
    assert judge(route, b"/static/x", (b"Cookie", cookie), key=False) == "ambiguous_request"
    assert judge({**route, "cookies": "ignore"}, b"/api/sites/shop/x", (b"Cookie", cookie)) == ("shop",)
    assert judge(route, b"/api/sites/shop/x", (b"Cookie", b"theme=urls; curls=x")) == ("shop",)


def test_outside_the_rules_paths_a_word_for_all_sites_in_a_cookie_needs_an_all_sites_key() -> None:
    rule = {"query": "idSite", "all": "all", "paths": ["/index.php"]}
    route = {"workspace": "acme", "sites": ["path:/api/sites/{site}/**", rule]}
    cookie = (b"Cookie", b"idSite=all")
    assert judge(route, b"/api/sites/shop/x", cookie) == "all_sites_needed"
    assert judge(route, b"/api/sites/shop/x", cookie, grant=EVERY_SITE, owners={"shop": "acme"}) == ("shop",)


# Methods.


@pytest.mark.parametrize("method", [b"COPY", b"MOVE", b"PROPFIND", b"QUERY", b"get", b"TRACE", b"REPORT"])
def test_a_method_that_the_route_does_not_list_is_not_allowed(method: bytes) -> None:
    refusal = judge_whole(ALL, b"/api/sites/shop/x", method=method)
    assert not isinstance(refusal, tuple)
    assert (refusal.code, refusal.status) == ("method_not_allowed", 405)
    assert refusal.lines == b"Allow: GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE\r\n"


def test_a_route_can_list_its_methods() -> None:
    route = {**ALL, "methods": ["GET", "PROPFIND", "QUERY"]}
    assert judge(route, b"/api/sites/shop/x", method=b"QUERY") == ("shop",)
    assert judge(route, b"/api/sites/shop/x", method=b"POST") == "method_not_allowed"


@pytest.mark.parametrize(
    "fields",
    [
        [(b"X-HTTP-Method-Override", b"DELETE, GET")],
        [(b"X-HTTP-Method-Override", b"GET,  delete")],
        [(b"X-HTTP-Method", b"DELETE")],
        [(b"X-Method-Override", b"GET"), (b"x-method-override", b"DELETE")],
    ],
)
def test_each_method_in_an_override_header_is_checked(fields: list[tuple[bytes, bytes]]) -> None:
    shut = {**PATH, "refuse": ["DELETE /api/sites/shop/x"]}
    assert judge(shut, b"/api/sites/shop/x", *fields, method=b"POST") == "endpoint_refused"
    few = {**PATH, "methods": ["GET", "POST"]}
    assert judge(few, b"/api/sites/shop/x", *fields, method=b"POST") == "method_not_allowed"
    assert judge(PATH, b"/api/sites/shop/x", *fields, method=b"POST") == ("shop",)


@pytest.mark.parametrize("query", [b"_method=DELETE", b"a=1&%5Fmethod=GET,DELETE", b"a;_METHOD=delete"])
def test_each_method_in_an_override_parameter_is_checked(query: bytes) -> None:
    few = {**PATH, "methods": ["GET", "POST"]}
    assert judge(few, b"/api/sites/shop/x?" + query, method=b"POST") == "method_not_allowed"


# Raw bytes.


@pytest.mark.parametrize("query", ["q=café", "q=日本語&site=shop", "site=shop&text=naïve"])
def test_raw_utf8_in_a_value_that_no_rule_reads_passes(query: str) -> None:
    assert judge(ALL, f"/api/sites/shop/x?{query}".encode()) == ("shop",)


@pytest.mark.parametrize("query", ["site=café", "_method=é", "x=1;site=é"])
def test_raw_utf8_in_a_value_that_a_rule_reads_is_refused(query: str) -> None:
    assert judge(ALL, f"/api/sites/shop/x?{query}".encode()) == "bad_request"


# Expensive requests.


@pytest.mark.parametrize(
    "target",
    [
        b"/api/data?" + b"&".join(b"site=s%d" % number for number in range(65)),
        b"/api/sites/shop/x%25c3%25a9" + b"%2541" * 300,
    ],
)
def test_requests_that_are_expensive_to_read_are_refused(target: bytes) -> None:
    assert judge(ALL, target, grant=selected(*(f"s{number}" for number in range(300)))) == "ambiguous_request"


def test_a_list_of_too_many_sites_is_refused() -> None:
    rule = {"sites": [{"query": "ids", "separator": ","}]}
    every = [str(number) for number in range(65)]
    assert judge(rule, b"/x?ids=" + ",".join(every[:64]).encode(), grant=selected(*every)) == tuple(every[:64])
    assert judge(rule, b"/x?ids=" + ",".join(every).encode(), grant=selected(*every)) == "ambiguous_request"


# Names that only hosts may use.


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        (b"/api/data?site=/shop", []),
        (b"/api/data?site=%2Fshop", []),
        (b"/api/data", [(b"X-Site", b"/shop")]),
        (b"/api/sites/%2Fshop/x", []),
    ],
)
def test_only_the_host_names_a_site_by_its_folded_id(target: bytes, fields: list[tuple[bytes, bytes]]) -> None:
    assert judge(ALL, target, *fields) in ("site_not_allowed", "ambiguous_request")
    owners = {"/shop": "acme", "shop": "acme"}
    assert judge(ALL, target, *fields, grant=EVERY_SITE, owners=owners) in ("site_not_allowed", "ambiguous_request")


def test_override_headers_are_removed_on_a_public_path() -> None:
    route = {**PATH, "public": ["GET /health"]}
    assert judge(route, b"/health", (b"X-HTTP-Method-Override", b"LIST"), key=False) == ()
    assert judge(route, b"/health?_method=DELETE", key=False) == "missing_key"


# The charset in which Django and ASP.NET decode the query.


@pytest.mark.parametrize(
    ("content_type", "query"),
    [
        (b"application/json; charset=utf-7", b"site=shop&%2BAHM-ite=blog"),
        (b"application/json; charset=unicode_escape", b"site=shop&%5Cx73ite=blog"),
        (b'text/plain; CHARSET="cp037"', b"site=shop"),
        (b"text/plain; charset=utf-8; charset=ibm037", b"site=shop&%A2%89%A3%85=%82%93%96%87"),
        (b"text/plain; charset*=utf-8''utf-7", b"site=shop"),
        (b"text/plain; charset = utf-7", b"site=shop"),
        (b"text/plain; charset=utf-16le", b"site=shop"),
        (b"text/plain; charset=shift_jis", b"site=shop&q=\xc3\xa9"),
    ],
)
def test_a_charset_that_changes_parameter_names_is_ambiguous(content_type: bytes, query: bytes) -> None:
    assert judge(ALL, b"/api/data?" + query, (b"Content-Type", content_type)) == "ambiguous_request"


@pytest.mark.parametrize(
    "content_type",
    [
        *(b"application/json", b"application/json; charset=utf-8", b'application/json;charset="UTF-8"'),
        *(
            b"text/csv; charset=ISO-8859-1; header=present",
            b"text/plain; charset=us-ascii",
            b"text/xml; charset=cp1252",
            b"application/json; charset=utf8mb4",
            b"application/json; charset=Shift_JIS",
            b"application/json; charset=windows-31j",
            b"text/plain; charset=GBK",
            b"text/plain;charset=gb18030",
            b"text/plain; charset=big5",
        ),
    ],
)
def test_a_charset_that_extends_ascii_passes(content_type: bytes) -> None:
    assert judge(ALL, b"/api/data?site=shop", (b"Content-Type", content_type), method=b"PUT", body=True) == ("shop",)
    assert judge(ALL, b"/api/sites/shop/x", (b"Content-Type", b"text/plain; charset=utf-16")) == ("shop",)


@pytest.mark.parametrize("charset", [b"shift_jis", b"gbk", b"big5", b"gb18030"])
def test_a_charset_with_two_byte_characters_is_ambiguous_with_raw_bytes_in_the_query(charset: bytes) -> None:
    # In some decoders, a byte over 0x7F and the `&` after it become one character.
    field = (b"Content-Type", b"text/plain; charset=" + charset)
    assert judge(ALL, b"/api/data?q=\xc3\xa9&site=shop", field, method=b"PUT", body=True) == "ambiguous_request"


@pytest.mark.parametrize("charset", [b"iso-2022-jp", b"hz-gb-2312", b"utf-7", b"cp037", b"gbk16"])
def test_a_charset_in_which_ascii_bytes_have_another_meaning_is_ambiguous(charset: bytes) -> None:
    field = (b"Content-Type", b"text/plain; charset=" + charset)
    assert judge(ALL, b"/api/data?site=shop", field, method=b"PUT", body=True) == "ambiguous_request"


# Requests without a key.


@pytest.mark.parametrize("target", [b"/static/secret", b"/static/x?urls=a"])
def test_refused_endpoints_are_refused_on_public_paths(target: bytes) -> None:
    route = {**ALL, "public": ["GET /static/**"], "refuse": ["GET /static/secret", "query:urls"]}
    assert judge(route, target, key=False) == "endpoint_refused"
    assert judge(route, b"/static/x", key=False) == ()


def test_a_form_on_a_public_path_is_refused_where_it_could_name_a_refused_method() -> None:
    route = {**ALL, "public": ["POST /login"], "refuse": ["DELETE /login"]}
    form = (b"Content-Type", b"application/x-www-form-urlencoded")
    assert judge(route, b"/login", form, method=b"POST", body=True, key=False) == "form_body_not_read"
    json = (b"Content-Type", b"application/json")
    assert judge(route, b"/login", json, method=b"POST", body=True, key=False) == ()


def test_a_preflight_whose_query_overrides_the_method_needs_a_key() -> None:
    preflight = [(b"Origin", b"https://app.example"), (b"Access-Control-Request-Method", b"GET")]
    route = {**ALL, "preflight": "pass"}
    target = b"/api/sites/blog/x"
    assert judge(route, target, *preflight, method=b"OPTIONS", key=False) == ()
    overriding = target + b"?x-http-method-override=GET"
    assert judge(route, overriding, *preflight, method=b"OPTIONS", key=False) == "missing_key"


def test_an_admitted_request_stays_limited_to_the_site_that_admitted_it() -> None:
    claim = read(table(ALL), Head(b"GET", b"/api/data?site=my+shop", [(b"Host", b"h"), KEY]))
    assert covered(claim, selected("my shop")) == ("my shop",)
    with pytest.raises(Refused):
        covered(claim, selected("my+shop"))
    assert covered(claim, selected("my+shop", "my shop")) == ("my shop",)


@pytest.mark.parametrize(
    ("method", "form_body"),
    [(b"POST", "auto"), (b"POST", "refuse"), (b"PUT", "refuse"), (b"PATCH", "refuse")],  # Perl's CGI.pm 4.55 reads all
)
def test_a_body_without_a_content_type_may_be_a_form(method: bytes, form_body: str) -> None:
    route = {**ALL, "form_body": form_body}
    target = b"/api/data?site=shop"
    assert judge(route, target, method=method, body=True) == "form_body_not_read"
    assert judge(route, target, (b"Content-Type", b""), method=method, body=True) == "form_body_not_read"
    assert judge(route, target, (b"Content-Type", b"text/plain"), method=method, body=True) == ("shop",)
    assert judge(route, target, method=method) == ("shop",)


@pytest.mark.parametrize("method", [b"PUT", b"PATCH"])
def test_an_upload_without_a_content_type_passes_by_default(method: bytes) -> None:
    # `curl -T` and S3 clients send none.
    assert judge(ALL, b"/api/data?site=shop", method=method, body=True) == ("shop",)


# Parameters inside or around the parameter of a rule.


def test_a_map_around_the_site_parameter_passes_outside_its_scope() -> None:
    route = {"sites": ["path:/api/sites/{site}/**", {"query": "filter[site]", "paths": ["/api/query"]}]}
    assert judge(route, b"/api/sites/shop/items?filter=active") == ("shop",)


@pytest.mark.parametrize("separator", [";", "?"])
def test_outside_the_paths_of_a_rule_a_site_after_a_custom_separator_must_be_granted(separator: str) -> None:
    rule = {"query": "site", "separator": separator, "paths": ["/api/query"]}
    route = {"sites": ["path:/api/sites/{site}/**", rule]}
    raw = separator.encode()
    assert judge(route, b"/api/sites/shop/x?site=shop" + raw + b"blog") == "site_not_allowed"
    assert judge(route, b"/api/sites/shop/x?site=" + raw + b"blog") == "site_not_allowed"


@pytest.mark.parametrize("query", [b"site.0=blog", b".site=blog", b"%2Esite=blog", b"!site=blog"])
def test_spellings_that_qs_and_spring_accept_are_ambiguous(query: bytes) -> None:
    assert judge(ALL, b"/api/data?site=shop&" + query) == "ambiguous_request"
    assert judge(ALL, b"/api/data?site=shop&site.name=x&x!site=y&x.site=z") == ("shop",)


def test_a_dot_that_begins_the_name_of_a_map_is_ambiguous() -> None:
    rule = {"sites": ["query:filter[site]"]}
    assert judge(rule, b"/x?filter[site]=shop&.filter.site=blog") == "ambiguous_request"  # qs with `allowDots`


@pytest.mark.parametrize("index", [b"21", b"007", b"99"])
def test_an_index_that_makes_qs_build_a_map_is_ambiguous(index: bytes) -> None:
    assert judge({"sites": [{"query": "site", "array": True}]}, b"/x?site[" + index + b"]=shop") == "ambiguous_request"


@pytest.mark.parametrize("slash", ["\u2044", "\u2215", "\u2216", "\u00a5", "\u20a9"])
def test_dot_segments_between_best_fit_slashes_are_refused(slash: str) -> None:
    hidden = "".join(f"%{byte:02X}" for byte in slash.encode())
    assert judge(ALL, f"/api/sites/shop/a{hidden}..{hidden}blog".encode()) == "ambiguous_request"


@pytest.mark.parametrize("entry", ["delete /x", "DELETE", "GET x", "* x", "query:"])
def test_an_endpoint_that_no_request_matches_is_a_config_error(entry: str) -> None:
    with pytest.raises(ValueError, match=r"method|endpoint|parameter"):
        table({**ALL, "refuse": [entry]})
    if entry != "query:":
        with pytest.raises(ValueError, match=r"method|endpoint"):
            table({**ALL, "public": [entry.replace("*", "get")]})


def test_a_host_rule_with_a_trailing_dot_is_a_config_error() -> None:
    with pytest.raises(ValueError, match="final dot"):
        table({"sites": ["host:{site}.api.example.com."]})
