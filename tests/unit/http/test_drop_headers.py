"""`drop_headers`: valid and invalid entries, and the headers that are dropped."""

import pytest

from proxy.http.drop_headers import DropHeaders
from proxy.http.headers import Fields, Head, fold_name
from proxy.http.hop_by_hop import clean_request
from proxy.http.request_header_names import RequestSpellings

HOST = (b"Host", b"api.example.com")
DROPPED: Fields = [
    (b"X-Scope-OrgID", b"1"),
    (b"x-scope-orgid", b"1"),
    (b"X-Hasura-Role", b"1"),
    (b"x-hasura-admin-secret", b"1"),
]
KEPT: Fields = [(b"X-Scope-OrgIDs", b"1"), (b"X-Scope", b"1"), (b"X-Hasura", b"1"), (b"Accept", b"1")]
ENTRIES = ("X-Scope-OrgID", "X-Hasura-*")


def test_listed_header_names_and_prefixes_are_dropped_in_every_spelling() -> None:
    drop = DropHeaders(ENTRIES)
    assert drop.remaining([*DROPPED, HOST, *KEPT]) == [HOST, *KEPT]
    assert drop.remaining([(b"X_Scope_OrgID", b"1"), (b"x.hasura.role", b"1")]) == []
    assert drop.covers(fold_name(b"X_Scope_OrgId"))
    assert not drop.covers(b"x-site")


def test_an_empty_drop_list_returns_the_same_fields() -> None:
    fields = [HOST, *KEPT]
    assert DropHeaders(()).remaining(fields) is fields


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("underscores", ["drop", "pass"])
def test_headers_on_the_proxy_wide_list_are_dropped_from_requests(trusted: bool, underscores: str) -> None:
    spellings = RequestSpellings("pass" if underscores == "pass" else "drop", (*ENTRIES, "Forwarded"))
    hop = clean_request(
        Head(b"GET", b"/", [HOST, *DROPPED, (b"X_Scope_OrgID", b"1"), (b"Forwarded", b"host=x"), *KEPT]),
        spellings=spellings,
        trusted=trusted,
        judged=frozenset(),
        trailer_bytes=100,
    )
    assert hop.head.fields == [HOST, *KEPT]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("", "is not a header name"),
        ("X Tenant", "is not a header name"),
        ("X-Tenant:", "is not a header name"),
        ("*", "is not a header name"),
        ("X-*-Tenant", "is not a header name"),
        ("Host", "HTTP itself needs it"),
        ("content_length", "HTTP itself needs it"),
        ("Content-*", "HTTP itself needs it"),
        ("Transfer-Encoding", "HTTP itself needs it"),
        ("Content-Type", "HTTP itself needs it"),
        ("Sec-*", "HTTP itself needs it"),
        ("X-*", "Sitelatch sets it"),
        ("X-Forwarded-For", "Sitelatch sets it"),
        ("X-Forwarded-*", "Sitelatch sets it"),
        ("X-Request-Id", "Sitelatch sets it"),
    ],
)
def test_a_drop_list_entry_that_cannot_be_dropped_is_refused_with_a_reason(entry: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        DropHeaders([entry])
    with pytest.raises(ValueError, match=reason):
        RequestSpellings("drop", [entry])
