"""Connection strings of PostgreSQL: their syntax, their options, and the files and variables that complete them."""
