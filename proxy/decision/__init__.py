"""Who passes: from a request head and a grant to a verdict. No I/O."""
