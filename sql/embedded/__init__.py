"""The embedded PostgreSQL server, for demos and tests."""
