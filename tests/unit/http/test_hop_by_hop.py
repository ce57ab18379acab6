"""Hop-by-hop fields, which are removed, and end-to-end fields, which are forwarded."""

import pytest

from proxy.http.bodies import ChunkedBody, NoBody
from proxy.http.headers import FOLDED, PLAIN, Fields, FoldedNames, Head
from proxy.http.hop_by_hop import (
    RequestHop,
    clean_request,
    clean_response,
)
from proxy.http.request_header_names import RequestSpellings
from proxy.refusals import Refused

HOST = (b"Host", b"api.example.com")


SPELLINGS = RequestSpellings()


def clean(
    fields: Fields,
    *,
    method: bytes = b"GET",
    minor: int = 1,
    trusted: bool = False,
    spellings: RequestSpellings = SPELLINGS,
    host: tuple[bytes, bytes] = HOST,
    needs_host: bool = True,
) -> RequestHop:
    return clean_request(
        Head(method, b"/", [host, *fields], minor=minor),
        spellings=spellings,
        trusted=trusted,
        judged=frozenset({b"x-api-key", b"x-site", b"authorization"}),
        trailer_bytes=100,
        needs_host=needs_host,
    )


def test_fields_are_forwarded_in_order_with_case_and_duplicates() -> None:
    fields = [(b"aCCept", b"b"), (b"X-B", b"1"), (b"Accept", b"a"), (b"x-b", b"2"), (b"X-Empty", b"")]
    assert clean(fields).head.fields == [HOST, *fields]


@pytest.mark.parametrize(
    "name",
    [
        b"Proxy",
        b"Keep-Alive",
        b"Proxy-Connection",
        b"TE",
        b"Trailer",
        b"Upgrade",
        b"HTTP2-Settings",
        b"Proxy-Authorization",
    ],
)
def test_hop_by_hop_fields_are_not_forwarded(name: bytes) -> None:
    assert clean([(name, b"x"), (name.upper(), b"x")]).head.fields == [HOST]


@pytest.mark.parametrize(
    "name",
    [
        b"X-Api-User-Id",
        b"x_api_user_id",
        b"X-Api_Workspace",
        b"X-API-SITES",
        b"X-Original-URL",
        b"X_Rewrite_Url",
        b"X-Original-URI",
        b"X-Envoy-Original-Path",
        b"Forwarded",
        b"X-Forwarded-For",
        b"X_Forwarded_For",
        b"X-Forwarded-Host",
        b"X-Forwarded-Anything",
        b"X-Real-IP",
        b"X-Real_IP",
        b"X-Request-Id",
    ],
)
def test_a_client_cannot_set_headers_that_sitelatch_sets(name: bytes) -> None:
    assert clean([(name, b"evil")]).head.fields == [HOST]


def test_a_trusted_proxy_may_set_the_origin_of_a_request_and_nothing_else() -> None:
    believed = [
        (b"X-Forwarded-For", b"1.2.3.4"),
        (b"X-Forwarded-Proto", b"https"),
        (b"x-forwarded-host", b"api.example"),
        (b"X-Forwarded-Port", b"443"),
        (b"Forwarded", b"for=1.2.3.4"),
        (b"X-Real-IP", b"1.2.3.4"),
        (b"X-Request-Id", b"a"),
    ]
    others = [
        *(b"X_Forwarded_For", b"X-Forwarded-Prefix", b"X-Forwarded-Uri", b"X-Forwarded-Path", b"X-Forwarded-Server"),
        *(
            b"X-Forwarded-Scheme",
            b"X-Forwarded-Ssl",
            b"X-Forwarded-By",
            b"X-Forwarded-User",
            b"X-Forwarded-Script-Name",
        ),
        *(b"X-Api-User-Id", b"X-Original-URL", b"X-Script-Name"),
    ]
    assert clean([*believed, *((name, b"evil") for name in others)], trusted=True).head.fields == [HOST, *believed]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"X-Forwarded-Proto", b"https://x/api/sites/blog/?"),
        (b"X-Forwarded-Proto", b"javascript:alert"),
        (b"X-Forwarded-Proto", b""),
        (b"X-Forwarded-Port", b"443/api/sites/blog?"),
        (b"x-forwarded-port", b"80#"),
        (b"X-Forwarded-Host", b"api.example/api/sites/blog?"),
        (b"X-Forwarded-Host", b"api.example:80/api/sites/blog"),
        (b"X-Forwarded-Host", b"ok.example, api.example\\x"),
        (b"X-Forwarded-Host", b"user@api.example"),
        (b"Forwarded", b'for=1.2.3.4;host="api.example/api/sites/blog?"'),
        (b"Forwarded", b'host="api.example:80#"'),
        # Jetty's ForwardedRequestCustomizer and actix-web read a host in these.
        (b"Forwarded", b"host =blog.api.example.com"),
        (b"Forwarded", b"host= blog.api.example.com"),
        (b"Forwarded", b"for=192.0.2.1;Host =blog.api.example.com"),
        (b"Forwarded", b"for=192.0.2.1;host\t=blog.api.example.com"),
        (b"Forwarded", b'host=""blog.api.example.com'),
        (b"Forwarded", b'host="blog.api.example.com'),
        (b"Forwarded", b'host="b\\log.api.example.com"'),
        (b"Forwarded", b"host=shop.example host=blog.api.example.com"),
        (b"Forwarded", b'for="x;host=blog.api.example.com"'),
        (b"Forwarded", b'for="x", "host=blog.api.example.com"'),
        (b"Forwarded", b"for=x;;host=blog.api.example.com"),
        (b"Forwarded", b"=x;host=blog.api.example.com"),
        (b"Forwarded", b"host=[blog.api.example.com"),
        (b"Forwarded", b"host=blog.api.example.com:x"),
        (b"Forwarded", b"host='blog.api.example.com'"),
        (b"Forwarded", b""),
    ],
)
def test_an_origin_value_that_is_not_plain_is_dropped(name: bytes, value: bytes) -> None:
    assert clean([(name, value)], trusted=True).head.fields == [HOST]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"X-Forwarded-Proto", b"https"),
        (b"X-Forwarded-Proto", b"https, http,wss"),
        (b"X-Forwarded-Port", b"443"),
        (b"X-Forwarded-Port", b"443, 80"),
        (b"X-Forwarded-Host", b"api.example.com:8443"),
        (b"X-Forwarded-Host", b"a_b.example, [2001:db8::1]:443 ,10.0.0.1"),
        (b"Forwarded", b'for="[2001:db8:cafe::17]:4711";proto=https;host=api.example;by=_hidden, for=unknown'),
        (b"Forwarded", b"for=1.2.3.4:5; Proto=https; HOST=api.example:8443;x-ext=1, for=10.0.0.1"),
        (b"X-Forwarded-For", b'unknown, "[::1]:80", 10.0.0.1'),
    ],
)
def test_a_plain_origin_value_from_a_trusted_proxy_is_forwarded(name: bytes, value: bytes) -> None:
    assert clean([(name, value)], trusted=True).head.fields == [HOST, (name, value)]


def test_fields_that_connection_lists_are_removed() -> None:
    hop = clean([(b"Connection", b"close, X-Gone"), (b"x-gone", b"1"), (b"X-Stays", b"2")])
    assert hop.head.fields == [HOST, (b"X-Stays", b"2")]
    assert not hop.keep_alive


@pytest.mark.parametrize(
    "listed",
    [
        *(b"X-API-Key", b"x_api_key", b"X-Site", b"Authorization"),
        *(b"Host", b"Content-Length", b"content_length", b"Transfer-Encoding", b"Expect"),
    ],
)
@pytest.mark.parametrize("trusted", [False, True])
def test_the_connection_header_cannot_list_a_judged_header(listed: bytes, trusted: bool) -> None:
    with pytest.raises(Refused) as refused:
        clean([(b"Connection", b"keep-alive"), (b"Connection", b"x, " + listed)], trusted=trusted)
    assert refused.value.refusal.code == "bad_connection_header"


@pytest.mark.parametrize(
    "listed",
    [
        *(b"Accept-Language", b"Range", b"X-Request-Id", b"x-request-id, Traceparent"),
        *(b"X-Forwarded-For", b"X-Forwarded-Host", b"Forwarded", b"X-Real-IP"),
        *(b"X-Api-User-Id", b"X-Api-Sites", b"X-Original-URL", b"X_Forwarded_For"),
    ],
)
def test_the_connection_header_can_list_headers_that_are_not_judged(listed: bytes) -> None:
    fields = [(name, b"1") for name in listed.split(b", ")]
    assert clean([(b"Connection", b"keep-alive, " + listed), *fields]).head.fields == [HOST]


@pytest.mark.parametrize(
    "listed",
    [b"X-Forwarded-For", b"x_forwarded_for", b"X-Forwarded-Host", b"X-Forwarded-Proto", b"Forwarded", b"X-Real-IP"],
)
def test_a_trusted_proxy_cannot_list_origin_headers_in_connection(listed: bytes) -> None:
    """Otherwise a client could hide its address behind a proxy that forwards Connection."""
    with pytest.raises(Refused) as refused:
        clean([(b"Connection", listed), (b"X-Forwarded-For", b"6.6.6.6")], trusted=True)
    assert refused.value.refusal.code == "bad_connection_header"


def test_a_trusted_proxy_can_list_the_request_id_in_connection() -> None:
    hop = clean([(b"Connection", b"X-Request-Id"), (b"X-Request-Id", b"a")], trusted=True)
    assert hop.head.fields == [HOST]


def test_an_overlong_connection_header_is_refused() -> None:
    assert clean([(b"Connection", b"close" + b", x" * 300)]).head.fields == [HOST]
    for fields in ([(b"Connection", b"close" + b", x" * 400)], [(b"Connection", b"x" * 600)] * 2):
        with pytest.raises(Refused) as refused:
            clean(fields)
        assert refused.value.refusal.code == "bad_request"


@pytest.mark.parametrize("name", [b"Content_Length", b"Transfer_Encoding", b"TRANSFER_encoding"])
def test_framing_in_a_spelling_that_only_some_servers_read_is_refused(name: bytes) -> None:
    with pytest.raises(Refused):
        clean([(name, b"5")])


@pytest.mark.parametrize(
    ("minor", "connection", "expected"),
    [
        (1, [], True),
        (0, [], False),
        (1, [b"close"], False),
        (0, [b"Keep-Alive"], True),
        (0, [b"keep-alive, close"], False),
        (1, [b"keep-alive", b"Close"], False),
    ],
)
def test_keep_alive_depends_on_the_version_and_the_connection_header(
    minor: int, connection: list[bytes], expected: bool
) -> None:
    assert clean([(b"Connection", value) for value in connection], minor=minor).keep_alive is expected


def test_only_the_expectation_100_continue_passes() -> None:
    assert (b"Expect", b"100-Continue") in clean([(b"Expect", b"100-Continue")]).head.fields
    assert clean([(b"Expect", b"100-continue")], minor=0).head.fields == [HOST]
    with pytest.raises(Refused) as refused:
        clean([(b"Expect", b"200-ok")])
    assert refused.value.refusal.status == 417


def test_a_request_head_determines_the_framing_of_its_body() -> None:
    hop = clean([(b"Transfer-Encoding", b"chunked")], method=b"POST")
    assert isinstance(hop.body, ChunkedBody)
    assert hop.chunked
    assert hop.head.fields == [HOST]
    assert isinstance(clean([]).body, NoBody)


WEBSOCKET: Fields = [
    (b"Connection", b"keep-alive, Upgrade"),
    (b"Upgrade", b"WebSocket"),
    (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"Sec-WebSocket-Version", b"13"),
]


def test_a_valid_websocket_request_is_recognized() -> None:
    hop = clean(WEBSOCKET)
    assert hop.websocket_key == b"dGhlIHNhbXBsZSBub25jZQ=="
    assert hop.head.fields == [HOST, *WEBSOCKET[2:]]


@pytest.mark.parametrize(
    "fields",
    [
        WEBSOCKET[1:],  # no Connection: upgrade
        [WEBSOCKET[0], (b"Upgrade", b"h2c"), *WEBSOCKET[2:]],
        [WEBSOCKET[0], (b"Upgrade", b"websocket, h2c"), *WEBSOCKET[2:]],
        [*WEBSOCKET[:2], (b"Upgrade", b"h2c"), *WEBSOCKET[2:]],
        [*WEBSOCKET[:2], (b"Sec-WebSocket-Key", b"short"), WEBSOCKET[3]],
        [*WEBSOCKET, WEBSOCKET[2]],
        WEBSOCKET[:3],
        [*WEBSOCKET[:3], (b"Sec-WebSocket-Version", b"8")],
        [*WEBSOCKET, (b"Content-Length", b"0")],
        [(b"Connection", b"upgrade, sec-websocket-key"), *WEBSOCKET[1:]],
    ],
)
def test_any_other_upgrade_is_forwarded_as_plain_http(fields: Fields) -> None:
    hop = clean(fields)
    assert hop.websocket_key is None
    assert b"upgrade" not in {name.lower() for name, _ in hop.head.fields}


def test_post_and_http_1_0_cannot_open_a_websocket() -> None:
    assert clean(WEBSOCKET, method=b"POST").websocket_key is None
    assert clean(WEBSOCKET, minor=0).websocket_key is None


def test_hop_by_hop_fields_of_a_response_are_not_forwarded() -> None:
    hop = clean_response(
        1,
        [
            (b"Date", b"x"),
            (b"Connection", b"close, X-Hop"),
            (b"Keep-Alive", b"timeout=5, max=100"),
            (b"X-Hop", b"1"),
            (b"Content-Length", b"3"),
            (b"Server", b"y"),
            (b"Transfer-Encoding", b"chunked"),
        ],
    )
    assert hop.fields == [(b"Date", b"x"), (b"Content-Length", b"3"), (b"Server", b"y")]
    assert (hop.lengths, hop.codings, hop.keep_alive, hop.idle_seconds) == ([b"3"], [b"chunked"], False, 5.0)


ODD_NAMES = [
    *(b"X_Anything", b"SCRIPT_NAME", b"PATH_INFO", b"Script_Name", b"Content_Type", b"Content.Type"),
    *(b"X.Api.User.Id", b"X-Api~Sites", b"X!Original!Url", b"X.Forwarded.For", b"X_API_Key", b"x-site'", b"$wssn"),
]


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("trusted", [False, True])
def test_a_name_with_an_odd_character_is_not_forwarded(name: bytes, trusted: bool) -> None:
    hop = clean([(b"X-A", b"1"), (name, b"2")], trusted=trusted)
    assert hop.head.fields == [HOST, (b"X-A", b"1")]
    assert hop.head.dropped == [(name, b"2")]


PASSING_UNDERSCORES = RequestSpellings("pass")


def test_underscores_can_be_allowed_in_names_but_no_other_odd_character() -> None:
    fields = [(b"x_anything", b"1"), (b"X_API_Key", b"2"), (b"a.b", b"3"), (b"a~b", b"4")]
    hop = clean(fields, spellings=PASSING_UNDERSCORES)
    assert (hop.head.fields, hop.head.dropped) == ([HOST, *fields[:2]], fields[2:])


@pytest.mark.parametrize(
    "name",
    [
        *(b"x_api_user_id", b"X_Forwarded_For", b"X-Forwarded_Host", b"X_Real_IP", b"x_request_id", b"http2_settings"),
        *(b"SCRIPT_NAME", b"PATH_INFO", b"X_Original_Url", b"x_middleware_subrequest", b"X_Forwarded_Prefix"),
    ],
)
@pytest.mark.parametrize("trusted", [False, True])
def test_allowing_underscores_does_not_admit_spellings_of_dropped_headers(name: bytes, trusted: bool) -> None:
    hop = clean([(name, b"evil")], spellings=PASSING_UNDERSCORES, trusted=trusted)
    assert (hop.head.fields, hop.head.dropped) == ([HOST], [])


@pytest.mark.parametrize("name", [b"Content_Length", b"Transfer_Encoding", b"content.length"])
@pytest.mark.parametrize("spellings", [SPELLINGS, PASSING_UNDERSCORES])
def test_framing_with_odd_characters_is_refused_in_both_modes(name: bytes, spellings: RequestSpellings) -> None:
    with pytest.raises(Refused) as refused:
        clean([(name, b"5")], spellings=spellings)
    assert refused.value.refusal.code == "bad_request"


def test_long_names_are_not_cached() -> None:
    spellings, name = RequestSpellings(), b"x" * 30_000
    assert (spellings[name], FOLDED[name]) == (PLAIN, name)
    assert name not in dict(spellings)
    assert name not in dict(FOLDED)


def test_the_cache_of_spellings_is_bounded_and_invented_names_do_not_fill_it_for_good() -> None:
    for spellings in (RequestSpellings(), FoldedNames()):
        for number in range(2 * RequestSpellings.BOUND + 7):
            spellings[b"x-%d" % number]
            assert len(spellings) <= RequestSpellings.BOUND
        spellings[b"x-new"]
        assert b"x-new" in dict(spellings)


def test_an_empty_host_is_treated_as_missing_unless_a_rule_reads_hosts() -> None:
    # F5's HTTP monitors send `Host:` without a value, which RFC 9110 §7.2 allows.
    hop = clean([(b"X-A", b"1")], host=(b"Host", b""), needs_host=False)
    assert (hop.host, hop.head.fields) == (b"", [(b"X-A", b"1")])
    with pytest.raises(Refused):
        clean([], host=(b"Host", b""), needs_host=True)


def test_a_response_closes_if_either_of_two_connection_fields_says_close() -> None:
    for order in ((b"close", b"keep-alive"), (b"keep-alive", b"close")):
        assert not clean_response(1, [(b"Connection", option) for option in order]).keep_alive
    assert clean_response(0, [(b"Connection", b"x"), (b"Connection", b"keep-alive")]).keep_alive


@pytest.mark.parametrize(
    ("host", "sent"), [(b"shop.example.", b"shop.example"), (b"shop.example.:80", b"shop.example:80")]
)
def test_the_trailing_dot_of_a_host_name_is_not_forwarded(host: bytes, sent: bytes) -> None:
    hop = clean_request(
        Head(b"GET", b"/", [(b"Accept", host), (b"Host", host)]),
        spellings=SPELLINGS,
        trusted=False,
        judged=frozenset(),
        trailer_bytes=100,
    )
    assert (hop.host, hop.head.fields) == (sent, [(b"Accept", host), (b"Host", sent)])
