"""Site ids."""

import re

_IMPOSSIBLE = re.compile(r"[/\\;,%?#\x00-\x1f\x7f-\x9f]")


def by_folded_id(host_part: str) -> str:
    return "/" + host_part


def could_be_id(name: str) -> bool:
    """Tell whether a site may have this id."""
    return bool(name.strip()) and _IMPOSSIBLE.search(name) is None
