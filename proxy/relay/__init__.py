"""Moves requests and responses between clients and upstreams."""
