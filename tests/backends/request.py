"""One generated request, as a client would send it."""

from dataclasses import dataclass, field, replace

KEY_MARK = b"\xffkey\xff"
"""A placeholder for the API key, so that requests can be generated without a key and printed without revealing it."""

_SHOWN_KEY = b"<key>"


@dataclass(frozen=True)
class Request:
    """A request as separate parts, so that it can be shrunk. `rules` is the name of its rule set."""

    rules: str
    method: bytes = b"GET"
    target: bytes = b"/"
    version: bytes = b"HTTP/1.1"
    fields: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    chunked: bool = False
    ordinary: bool = field(default=False, compare=False)
    """Whether it is ordinary traffic, which must pass."""

    def raw(self, key: bytes) -> bytes:
        """Return the bytes to send."""
        lines = [b"%b %b %b" % (self.method, self.target, self.version)]
        lines += [b"%b: %b" % pair for pair in self.fields]
        body = self.body
        if self.chunked:
            lines.append(b"Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        elif body and not any(name.lower() == b"content-length" for name, _ in self.fields):
            lines.append(b"Content-Length: %d" % len(body))
        return b"\r\n".join([*lines, b"", b""]).replace(KEY_MARK, key) + body

    def shown(self) -> str:
        """Return the request in readable form: one line per header, odd bytes escaped, and no key."""
        text = self.raw(_SHOWN_KEY).decode("latin-1")
        return "\n".join(ascii(line)[1:-1] for line in text.split("\r\n")).strip()

    def with_fields(self, *more: tuple[bytes, bytes]) -> "Request":
        """Return the request with additional header fields at the end."""
        return replace(self, fields=(*self.fields, *more))

    @property
    def path(self) -> bytes:
        """The target up to its first `?`."""
        return self.target.partition(b"?")[0]

    @property
    def query(self) -> bytes:
        """The target after its first `?`."""
        return self.target.partition(b"?")[2]

    def with_path(self, path: bytes) -> "Request":
        """Return the request with another path and the same query."""
        return replace(self, target=path + (b"?" + self.query if b"?" in self.target else b""))

    def with_query(self, query: bytes) -> "Request":
        """Return the request with another query."""
        return replace(self, target=self.path + b"?" + query)
