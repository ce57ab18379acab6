"""The decision: takes a request head and a grant, and returns a verdict. No I/O."""
