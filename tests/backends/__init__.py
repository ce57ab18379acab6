"""Generated hostile requests: those that pass the front door are replayed to real servers."""
