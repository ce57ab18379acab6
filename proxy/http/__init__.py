"""The HTTP protocol: parsing, header fields, hop-by-hop rules, body framing, WebSocket frames. No I/O."""
