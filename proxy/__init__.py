"""The proxy: parses, judges and forwards requests. docs/architecture.md follows a request through it."""
