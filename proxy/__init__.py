"""Everything a request touches, in the order it is touched: see docs/architecture.md."""
