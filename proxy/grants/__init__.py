"""What API keys may do: the cache in front of the scope table, and how it stays current."""
