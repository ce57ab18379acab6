"""The 101 responses that open a WebSocket connection."""

from proxy.http.websocket_handshake import accepts_key


def test_only_the_right_101_opens_a_websocket() -> None:
    key = b"dGhlIHNhbXBsZSBub25jZQ=="
    accept = (b"Sec-WebSocket-Accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")  # RFC 6455 §1.3
    rest = [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")]
    assert accepts_key(key, [*rest, accept])
    assert not accepts_key(key, rest)
    assert not accepts_key(key, [*rest, (b"Sec-WebSocket-Accept", b"AAAA")])
    assert not accepts_key(key, [rest[1], accept])
    assert not accepts_key(key, [(b"Upgrade", b"h2c"), rest[1], accept])
