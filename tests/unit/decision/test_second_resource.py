"""Headers that name a second resource, and headers that only look like it."""

import pytest

from proxy.decision.second_resource import SECOND_RESOURCE_HEADERS, names_second_resource
from proxy.http.known_headers import KnownHeader

HOST = (b"Host", b"api.example.com")
BY_VALUE = {"if": b"</blog/x> (<urn:uuid:1>)", "upload-concat": b"final;/files/a /files/b", "source": b"/blog/x"}


@pytest.mark.parametrize("row", SECOND_RESOURCE_HEADERS, ids=lambda row: row.name)
def test_a_header_that_names_a_second_resource_is_found_in_every_spelling(row: KnownHeader) -> None:
    name = row.name.encode()
    value = BY_VALUE.get(row.name, b"/blog/secret.txt")
    for spelling in (name, name.upper(), name.title(), name.replace(b"-", b"_")):
        assert names_second_resource([HOST, (spelling, value)]), spelling


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
    assert names_second_resource([HOST, (b"Accept", b"*/*"), (name.encode(), value)])


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
    assert not names_second_resource([HOST, (name.encode(), value)])


def test_a_long_tagged_list_is_read_in_linear_time() -> None:
    """A backtracking pattern would take minutes here."""
    value = b"(" + b"<a>" * 10_000
    assert names_second_resource([(b"If", value)])
    assert not names_second_resource([(b"If", b"(<a>)" * 6_000)])
    assert names_second_resource([(b"If", b"(<a>) " * 5_000 + b"<")])
