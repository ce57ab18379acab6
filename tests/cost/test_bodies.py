"""Chunked bodies take time linear in their size, no matter what their chunks and trailers contain."""

import time

import pytest

from proxy.http.bodies import ChunkedBody, FramingError
from tests.cost.doubling import check_doubling
from tests.cost.heads import fill

pytestmark = pytest.mark.cost

# (beginning, unit, end): the unit is repeated.
CHUNKS: list[tuple[bytes, bytes, bytes]] = [
    (b"", b"1\r\nx\r\n", b"0\r\n\r\n"),
    (b"", b"4\r\n\r\n\r\n\r\n", b"0\r\n\r\n"),
    (b"", b"000000000000001\r\nx\r\n", b"0\r\n\r\n"),
]
TRAILERS: list[tuple[bytes, bytes, bytes]] = [
    (b"0\r\nX: a", b" ", b"b\r\n\r\n"),
    (b"0\r\nX: a", b" \t", b"\r\n\r\n"),
    (b"0\r\nX:", b"\t", b"\r\n\r\n"),
    (b"0\r\nX: ", b"a ", b"\x00\r\n\r\n"),
    (b"0\r\nX: ", b" ", b"\x00\r\n\r\n"),
    (b"0\r\n", b"a", b": b\r\n\r\n"),
    (b"0\r\n", b"a", b"\r\n\r\n"),
    (b"0\r\n", b"a:\r\n", b"\r\n"),
    (b"0\r\n", b"a{n}: b\r\n", b"\r\n"),
]
EXTENSIONS: list[tuple[bytes, bytes, bytes]] = [
    (b"", b"1;a=b\r\nx\r\n", b"0\r\n\r\n"),
    (b"", b"1 ;  ;\r\nx\r\n", b"0\r\n\r\n"),
    (b"", b"1" + b" \t" * 500 + b";\r\nx\r\n", b"0\r\n\r\n"),
    (b"", b"1" + b";" * 4000 + b"\r\nx\r\n", b"0\r\n\r\n"),
]
PIECES = [1 << 20, 1000]
"""Bytes that arrive at a time."""


def read_all(body: ChunkedBody, pieces: list[bytes]) -> None:
    """Read a body to its end, or to the byte that makes it invalid."""
    try:
        for piece in pieces:
            body.feed(piece)
    except FramingError:
        pass


def seconds(data: bytes, piece: int, *, extensions: bool) -> float:
    """Return the time to read a chunked body, or to find that it is invalid."""
    pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
    body = ChunkedBody(extensions=extensions, trailer_bytes=1 << 20)
    began = time.thread_time()
    read_all(body, pieces)
    return time.thread_time() - began


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize(
    ("case", "extensions"),
    [
        *((case, False) for case in [*CHUNKS, *TRAILERS]),
        *((case, True) for case in [*CHUNKS, *TRAILERS, *EXTENSIONS]),
    ],
)
def test_doubling_a_chunked_body_costs_at_most_two_and_a_half_times_as_much(
    case: tuple[bytes, bytes, bytes], extensions: bool, piece: int
) -> None:
    check(case, piece, extensions=extensions)


@pytest.mark.parametrize("case", TRAILERS)
def test_trailers_that_arrive_byte_by_byte_take_linear_time(case: tuple[bytes, bytes, bytes]) -> None:
    check(case, 1, extensions=True)


def check(case: tuple[bytes, bytes, bytes], piece: int, *, extensions: bool) -> None:
    """Assert that a body takes time linear in how often the unit of `case` occurs in it."""
    beginning, unit, end = case
    check_doubling(lambda size: seconds(beginning + fill(unit, size) + end, piece, extensions=extensions))
