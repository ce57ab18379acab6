"""Long-lived responses: an event stream, a download, a WebSocket connection. The test is the data service."""

from tests.acceptance.harness import Lane, User
from tests.acceptance.wire import Wire

SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"b\r\ndata: one\n\n\r\n"
DOWNLOAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(1000)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "
HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"  # the response to that key (RFC 6455 §1.3)


async def events(client: Wire, lane: Lane, user: User) -> Wire:
    """Open an SSE stream, and wait for its first event. Return the data service's side."""
    await client.send(lane.request("GET", "/sites/shop/events", user=user))
    service = await lane.upstream.accept()
    await service.request()
    await service.send(SSE + EVENT)
    await client.read_until(EVENT)
    return service


async def download(client: Wire, lane: Lane, user: User) -> Wire:
    await client.send(lane.request("GET", "/sites/shop/file", user=user))
    service = await lane.upstream.accept()
    await service.request()
    await service.send(DOWNLOAD)
    await client.read_until(b"\r\n\r\n" + bytes(1000))
    return service


async def tunnel(client: Wire, lane: Lane, user: User) -> Wire:
    await client.send(lane.request("GET", "/sites/shop/ws", *HANDSHAKE, user=user))
    service = await lane.upstream.accept()
    await service.request()
    await service.send(SWITCH + ACCEPT)
    await client.head()
    return service
