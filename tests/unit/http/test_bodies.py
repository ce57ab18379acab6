"""The end of bodies, and framings that are refused because parsers could disagree."""

import pytest

from proxy.http.bodies import (
    ChunkedBody,
    CloseBody,
    FramingError,
    LengthBody,
    NoBody,
    chunk,
    last_chunk,
    request_body,
    response_body,
)
from proxy.refusals import Refused


def chunked(*, extensions: bool = False) -> ChunkedBody:
    return ChunkedBody(extensions=extensions, trailer_bytes=100)


WHOLE = b"4\r\nWiki\r\n6\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\nX-Sum: 1\r\n\r\n"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_a_chunked_body_is_read_the_same_however_it_is_split(step: int) -> None:
    body = chunked()
    data, rest = b"", b""
    stream = WHOLE + b"GET"
    for at in range(0, len(stream), step):
        part = stream[at : at + step]
        if body.done:
            rest += part
            continue
        pieces, after = body.feed(part)
        data += b"".join(pieces)
        rest += after
    assert data == b"Wikipedia in \r\n\r\nchunks."
    assert body.done
    assert body.trailers == [(b"X-Sum", b"1")]
    assert rest == b"GET"


@pytest.mark.parametrize(
    "data",
    [
        b"4;a=b\r\nWiki\r\n",  # an extension: servers disagree on where the line ends
        b"4 \r\nWiki\r\n",
        b" 4\r\nWiki\r\n",
        b"+4\r\nWiki\r\n",
        b"0x4\r\nWiki\r\n",
        b"4_0\r\n",
        b"\r\n",
        b"g\r\n",
        b"-1\r\n",
        b"4\nWiki\r\n",  # bare LF
        b"4\r\nWikiX\r\n",  # longer than its size
        b"4\r\nWiki\n",
        b"4\r\nWiki\r0\r\n\r\n\n",
        b"1000000000000000\r\n",  # an integer that could overflow in a backend
        b"0\r\nno colon\r\n\r\n",
        b"0\r\nX : 1\r\n\r\n",
        b"0\r\n folded: 1\r\n\r\n",
        b"0\r\n" + b"X: 12345678\r\n" * 10 + b"\r\n",  # more than the limit
        b"1" * 30,  # an unterminated size line
        b"0\r\nX: " + b"1" * 200,  # an unterminated trailer
    ],
)
def test_a_malformed_chunked_body_is_an_error(data: bytes) -> None:
    body = chunked()
    with pytest.raises(FramingError):
        body.feed(data)


def test_whitespace_around_a_trailer_value_is_removed() -> None:
    body = chunked()
    body.feed(b"0\r\nA:\tb  c \t\r\nB: \t \r\nC:\r\n\r\n")
    assert body.trailers == [(b"A", b"b  c"), (b"B", b""), (b"C", b"")]


def test_chunk_extensions_of_a_response_are_dropped() -> None:
    body = chunked(extensions=True)
    assert body.feed(b'4 ; name="value"\r\nWiki\r\n0;x\r\n\r\n') == ([b"Wiki"], b"")
    assert body.done


def test_a_body_with_a_length_ends_after_that_many_bytes() -> None:
    body = LengthBody(5)
    assert body.feed(b"abc") == ([b"abc"], b"")
    assert not body.done
    assert body.feed(b"deGET") == ([b"de"], b"GET")
    assert body.done


def test_chunks_are_written_with_their_size_and_empty_ones_are_omitted() -> None:
    assert b"".join(chunk([b"ab", b"c"])) == b"3\r\nabc\r\n"
    assert chunk([]) == []
    assert chunk([b""]) == []  # an empty chunk would end the body
    assert last_chunk([]) == b"0\r\n\r\n"
    assert last_chunk([(b"X-Sum", b"1")]) == b"0\r\nX-Sum: 1\r\n\r\n"


@pytest.mark.parametrize(
    ("lengths", "codings", "minor"),
    [
        ([b"5"], [b"chunked"], 1),
        ([b"5", b"5"], [], 1),
        ([b"+5"], [], 1),
        ([b"5, 5"], [], 1),
        ([b""], [], 1),
        ([b"1" * 19], [], 1),
        ([], [b"gzip"], 1),
        ([], [b"gzip, chunked"], 1),
        ([], [b"chunked, chunked"], 1),
        ([], [b"chunked", b"chunked"], 1),
        ([], [b"identity"], 1),
        ([], [b"xchunked"], 1),
        ([], [b""], 1),
        ([], [b"chunked"], 0),  # HTTP/1.0 does not have codings
    ],
)
def test_a_request_whose_end_is_uncertain_is_refused(lengths: list[bytes], codings: list[bytes], minor: int) -> None:
    with pytest.raises(Refused) as refused:
        request_body(lengths, codings, minor, 100)
    assert refused.value.refusal.status == 400
    assert refused.value.refusal.closes


def test_a_request_body_is_framed_by_length_or_chunks() -> None:
    assert isinstance(request_body([], [], 1, 100), NoBody)
    assert isinstance(request_body([b"0"], [], 1, 100), NoBody)
    assert isinstance(request_body([b"7"], [], 0, 100), LengthBody)
    assert isinstance(request_body([], [b"Chunked"], 1, 100), ChunkedBody)


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
def test_responses_without_a_body_end_with_their_head_regardless_of_what_it_announces(
    method: bytes, status: int
) -> None:
    assert isinstance(response_body(method, status, [b"7"], [], 1, 100), NoBody)
    assert isinstance(response_body(method, status, [], [b"chunked"], 1, 100), NoBody)


def test_a_response_without_a_length_ends_with_its_connection() -> None:
    assert isinstance(response_body(b"GET", 200, [], [], 1, 100), CloseBody)


@pytest.mark.parametrize(
    ("lengths", "codings", "minor"),
    [([b"1", b"1"], [], 1), ([b"x"], [], 1), ([], [b"gzip"], 1), ([], [b"chunked"], 0), ([b"1"], [b"chunked"], 1)],
)
def test_a_response_whose_end_is_uncertain_is_an_error(lengths: list[bytes], codings: list[bytes], minor: int) -> None:
    with pytest.raises(FramingError):
        response_body(b"GET", 200, lengths, codings, minor, 100)
