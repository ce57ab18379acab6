"""What the change feed says has changed: keys, users, sites, or everything. No I/O."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(slots=True)
class Changes:
    """A stretch of the feed. The numbers are the feed's positions: what was read there or later knows of the change."""

    keys: dict[bytes, int] = field(default_factory=dict)
    """Of keys that were added, removed or changed, by digest."""
    users: dict[str, int] = field(default_factory=dict)
    """Of API users whose scope or state changed, or who are gone."""
    sites: set[str] = field(default_factory=set)
    """Sites that were added or removed."""
    everything: bool = False

    @classmethod
    def read(cls, rows: Iterable[Any]) -> "Changes":
        """Return what rows of scope_changes say, oldest first. One that cannot be read stands for everything."""
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
