"""The changes that rows of the change feed describe. No I/O."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(slots=True)
class Changes:
    """The changes in a range of the feed.

    The numbers are feed positions. An answer that was read at this position or later includes the change.
    """

    keys: dict[bytes, int] = field(default_factory=dict)
    """The digests of keys that were added, removed or changed."""
    users: dict[str, int] = field(default_factory=dict)
    """API users that were deleted, or whose scope or state changed."""
    sites: set[str] = field(default_factory=set)
    """Sites that were added or removed."""
    everything: bool = False
    """Whether the changes are unknown or too many to list, so that everything may have changed."""

    @classmethod
    def read(cls, rows: Iterable[Any]) -> "Changes":
        """Return the changes in rows of scope_changes, oldest first. An unknown kind of row sets `everything`."""
        changes = cls()
        for row in rows:
            what, subject = row["what"], row["subject"]
            if what == "key" and _DIGEST.fullmatch(subject or ""):
                changes.keys[bytes.fromhex(subject)] = row["seq"]
            elif what == "user" and subject:
                changes.users[subject] = row["seq"]
            elif what == "site" and subject:
                changes.sites.add(subject)
            else:
                changes.everything = True
        return changes
