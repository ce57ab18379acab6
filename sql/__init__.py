"""Everything that is SQL: migrations, named queries, roles, the pool and the embedded server."""
