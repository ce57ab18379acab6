"""The database layer: migrations, named queries, roles, the connection pool and the embedded server."""
