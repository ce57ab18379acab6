"""The cache of grants in front of the scope table, and the change feed that keeps it current."""
