"""Limits on the requests of each API user, shared among all processes."""
