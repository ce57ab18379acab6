"""Headers that name a second resource, and headers that only look like it."""

import pytest

from proxy.decision.second_resource import SECOND_RESOURCE_HEADERS, names_second_resource
from proxy.http.known_headers import KnownHeader
from tests.unit.judging import judge

HOST = (b"Host", b"api.example.com")
BY_VALUE = {"if": b"</blog/x> (<urn:uuid:1>)", "upload-concat": b"final;/files/a /files/b"}


@pytest.mark.parametrize("row", SECOND_RESOURCE_HEADERS, ids=lambda row: row.name)
def test_a_header_that_names_a_second_resource_is_found_in_every_spelling(row: KnownHeader) -> None:
    name = row.name.encode()
    value = BY_VALUE.get(row.name, b"/blog/secret.txt")
    for spelling in (name, name.upper(), name.title(), name.replace(b"-", b"_")):
        assert names_second_resource([HOST, (spelling, value)], copies=True), spelling


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-amz-copy-source", b"/blog/secret.txt"),
        ("X-Amz-Copy-Source", b""),
        ("Destination", b"http://api.example.com/blog/x"),
        ("X-Copy-From", b"/blog/x"),
        ("If", b"<http://api.example.com/blog/> (<urn:uuid:1>)"),
        ("If", b"(<urn:uuid:1>) </blog/> (Not <DAV:no-lock>)"),
        ("If", b"\t</blog/>(<urn:uuid:1>)"),
        ("If", b'(["a)b"]) </blog/x> (<urn:uuid:1>)'),
        ("Source", b"https://storage.example/blog/x"),
        ("Source", b"gsiftp://storage.example/blog/x"),
        ("Upload-Concat", b"Final;/files/a"),
    ],
)
def test_a_header_that_names_a_second_resource_is_found(name: str, value: bytes) -> None:
    assert names_second_resource([HOST, (b"Accept", b"*/*"), (name.encode(), value)], copies=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("If-Match", b'"x"'),
        ("If-None-Match", b"*"),
        ("If-Modified-Since", b"Sat, 29 Oct 1994 19:43:31 GMT"),
        ("If-Range", b'"x"'),
        ("If-Schedule-Tag-Match", b'"x"'),
        ("If", b"(<urn:uuid:181d4fae-7d8c-11d0-a765-00a0c91e6bf2>)"),
        ("If", b'(<urn:uuid:1> ["I am an ETag"]) (Not <DAV:no-lock>)'),
        ("If", b"(<opaquelocktoken:1>)\t(<opaquelocktoken:2>) "),
        ("Source", b"web"),
        ("Upload-Concat", b"partial"),
        ("X-Amz-Copy-Source-If-Match", b'"x"'),
        ("X-Amz-Date", b"20260101T000000Z"),
        ("X-Amz-Meta-Source", b"/x"),
        ("X-Goog-Meta-Destination", b"/x"),
        ("X-Ms-Blob-Type", b"BlockBlob"),
        ("Lock-Token", b"<urn:uuid:1>"),
        ("Content-Location", b"/x"),
        ("Overwrite", b"T"),
        ("Depth", b"infinity"),
    ],
)
def test_a_header_that_names_no_second_resource_passes(name: str, value: bytes) -> None:
    for copies in (False, True):
        assert not names_second_resource([HOST, (name.encode(), value)], copies=copies)


@pytest.mark.parametrize(
    ("name", "value"),
    [("Destination", b"BER"), ("Destination", b"Berlin, New_York"), ("Source", b"https://app.example/page")],
)
def test_destination_and_source_are_ordinary_headers_unless_copying_is_allowed(name: str, value: bytes) -> None:
    route = {"sites": ["path:/{site}/**"]}
    assert judge(route, b"/shop/x", (name.encode(), value)) == ("shop",)
    copying = {**route, "methods": ["GET", "COPY"]}
    assert judge(copying, b"/shop/x", (name.encode(), value)) == "second_resource"


@pytest.mark.parametrize("value", [b"/blog/x", b"http://h/blog", b"blog/x", b"blog%2fx", b"../blog"])
def test_a_destination_that_may_be_a_path_is_refused_on_every_route(value: bytes) -> None:
    assert judge({"sites": ["path:/{site}/**"]}, b"/shop/x", (b"Destination", value)) == "second_resource"


def test_a_long_tagged_list_is_read_in_linear_time() -> None:
    """A backtracking pattern would take minutes here."""
    value = b"(" + b"<a>" * 10_000
    assert names_second_resource([(b"If", value)], copies=False)
    assert not names_second_resource([(b"If", b"(<a>)" * 6_000)], copies=False)
    assert names_second_resource([(b"If", b"(<a>) " * 5_000 + b"<")], copies=False)
