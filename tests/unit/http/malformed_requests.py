"""Malformed requests, and what the detail of their refusal begins with."""

HOST = b"Host: h\r\n"


def get(*lines: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


REQUESTS = [
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "The connection begins with a TLS handshake"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", "The connection begins with the PROXY protocol"),
    (b"PROXY UNKNOWN\r\n", "The connection begins with the PROXY protocol"),
    (b"\x00", "The request line does not begin with a method."),
    (b" GET / HTTP/1.1\r\n", "The request line does not begin with a method."),
    (b"G(T / HTTP/1.1\r\n", "The request line does not begin with a method."),
    (b"{}\r\n\r\n", "The request line does not begin with a method."),
    (b"GET\t/ HTTP/1.1\r\n", "The request line does not begin with a method."),
    (b"GET /\r\n\r\n", "The request line does not consist of a method, a target and `HTTP/1.1`"),
    (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", "The request line does not consist of a method, a target and `HTTP/1.1`"),
    (b"GET /a b HTTP/1.1\r\n", "The request line does not consist of a method, a target and `HTTP/1.1`"),
    (b"GET / HTTP/1.1 \r\n", "The request line does not consist of a method, a target and `HTTP/1.1`"),
    (b"GET data HTTP/1.1\r\n", "The request target does not begin with `/`"),
    (b"GET ?a HTTP/1.1\r\n", "The request target does not begin with `/`"),
    (b"GET http://< HTTP/1.1\r\n", "The request target is a URL whose host is not valid."),
    (b"GET /\x01 HTTP/1.1\r\n", "The request target contains a control character"),
    (b"GET /b\xc3\xbcro HTTP/1.1\r\n", "The request target contains a control character"),
    (b"GET / HTTP\r\n", "The request line does not end with `HTTP/1.1`"),
    (b"GET / http/1.1\r\n", "The request line does not consist of a method, a target and `HTTP/1.1`"),
    (b"GET / HTTP/1.1\n", "A line of the request head ends with a line feed alone."),
    (b"GET / HTTP/1.1\rX", "A line of the request head contains a carriage return"),
    (get(b"A: b\nC: d"), "A line of the request head ends with a line feed alone."),
    (get(b"A: b\rC: d"), "A line of the request head contains a carriage return"),
    (get(b"A: b", b" folded"), "A header line begins with white space"),
    (get(b"A: b", b"\tfolded"), "A header line begins with white space"),
    (get(b"A"), "A header line has no colon."),
    (get(b": a"), "A header line begins with a colon."),
    (get(b"A : b"), "A header has white space in its name"),
    (get(b"A b: c"), "A header has white space in its name"),
    (get(b"A\x00: b"), "The name of a header contains an invalid character."),
    (get(b"\xc3\xa9: b"), "The name of a header contains an invalid character."),
    (get(b"A: b\x00"), "The value of a header contains a control character."),
    (get(b"A: b\x7f"), "The value of a header contains a control character."),
    (get(b"Content-Length: 1", b"Content-Length: 1"), "The request has more than one Content-Length."),
    (get(b"Content-Length: +1"), "Content-Length is not a plain number"),
    (get(b"Content-Length: 1, 1"), "Content-Length is not a plain number"),
    (get(b"Content-Length:"), "Content-Length is not a plain number"),
    (get(b"Content-Length: " + b"9" * 19), "Content-Length is not a plain number"),
    (get(b"Content-Length: " + b"9" * 30), "Content-Length is not a plain number"),
    (get(b"Content-Length: 1", b"Transfer-Encoding: chunked"), "The request has both Content-Length and"),
    (get(b"Transfer-Encoding: chunked", b"Content-Length: 1"), "The request has both Content-Length and"),
    (get(b"Transfer-Encoding: gzip, chunked"), "Transfer-Encoding has a value other than `chunked`"),
    (get(b"Transfer-Encoding: identity"), "Transfer-Encoding has a value other than `chunked`"),
    (get(b"Transfer-Encoding:"), "Transfer-Encoding has a value other than `chunked`"),
    (get(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), "Transfer-Encoding has a value other than"),
    (
        b"GET / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n",
        "The request has Transfer-Encoding, but its",
    ),
    (get(b"Content_Length: 1"), "The request has a header that some servers read as Content-Length"),
    (get(b"Connection: " + b"a," * 600), "The Connection header is longer than 1024 bytes."),
    (b"GET / HTTP/1.1\r\n\r\n", "The request has no Host header."),
    (get(b"Host: other"), "The request has more than one Host header."),
    *(
        (b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host, "The Host header does not contain a host name or an IP address.")
        for host in (b"http://h", b"u@h", b"h/x", b"h..", b"b\xc3\xbcro", b"h:port", b"::1", b"a b", b"h" * 300)
    ),
]
