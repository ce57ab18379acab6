"""The embedded PostgreSQL server, for trying out and for the tests."""
