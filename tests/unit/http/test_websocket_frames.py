"""Following WebSocket frames, however their bytes are split."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from proxy.http.websocket_frames import Frames, close_frame


def frame(payload: bytes, opcode: Opcode = Opcode.BINARY, *, mask: bool = False, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=mask)


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 100_000])
def test_a_frame_ends_with_its_last_byte(size: int, mask: bool) -> None:
    data = frame(bytes(size), mask=mask)
    frames = Frames()
    assert frames.between
    for at in {1, 2, 3, 4, 5, len(data) // 2, len(data) - 1} - {0, len(data)}:
        if at < len(data):
            frames = Frames()
            frames.feed(data[:at])
            assert not frames.between
            frames.feed(data[at:])
            assert frames.between


@given(
    st.lists(st.tuples(st.integers(0, 300), st.booleans(), st.booleans()), max_size=8),
    st.lists(st.integers(1, 200), max_size=40),
)
def test_frames_are_followed_however_they_are_split(sent: list[tuple[int, bool, bool]], sizes: list[int]) -> None:
    data = b"".join(frame(bytes(size), mask=mask, fin=fin) for size, mask, fin in sent)
    ends = {0}
    for size, mask, fin in sent:
        ends.add(max(ends) + len(frame(bytes(size), mask=mask, fin=fin)))
    frames = Frames()
    at = 0
    for size in [*sizes, len(data)]:
        frames.feed(data[at : at + size])
        at = min(at + size, len(data))
        assert frames.between == (at in ends)


def test_no_frame_may_follow_a_close_frame() -> None:
    frames = Frames()
    frames.feed(frame(b"a") + frame(b"", Opcode.CLOSE) + frame(b""))
    assert not frames.between


def test_a_close_frame_is_valid_and_short_enough() -> None:
    assert close_frame(1008, "This API key is not valid.") == frame(b"\x03\xf0This API key is not valid.", Opcode.CLOSE)
    assert len(close_frame(1008, "x" * 500)) == 127
