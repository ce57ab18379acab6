"""Requests that real clients and data APIs are documented to send, by subject."""
