"""Bytes and heads: parsing, header fields, hop-by-hop rules, bodies, websocket frames. No I/O."""
