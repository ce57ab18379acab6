"""A set of header names, in every spelling that a lenient backend reads. No I/O."""

from collections.abc import Iterable


class HeaderNameSet:
    """A set of folded header names, and of prefixes, which are written with a final `*`."""

    __slots__ = ("_names", "_prefixes")

    def __init__(self, entries: Iterable[bytes]) -> None:
        """`entries` are folded (`headers.fold_name`)."""
        entries = list(entries)
        self._names = frozenset(entry for entry in entries if not entry.endswith(b"*"))
        self._prefixes = tuple(entry[:-1] for entry in entries if entry.endswith(b"*"))

    def __bool__(self) -> bool:
        """Return whether it has any entry."""
        return bool(self._names or self._prefixes)

    def covers(self, folded: bytes) -> bool:
        """Return whether a folded name is in the set."""
        return folded in self._names or folded.startswith(self._prefixes)
