"""Rules for what people type: names, searches, workspaces. No I/O."""

import re

from admin.problems import Invalid

NAME_LENGTH = 200
WORKSPACE_LENGTH = 255
WORKSPACE = r"[!-~](?:[ -~]*[!-~])?"
_UNSTORABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Unicode's categories Cc and Cs, which are closed. A look at each letter takes ten times as long."""


def check_name(name: str, *place: str | int) -> str:
    """Return a name for people, trimmed. Raises Invalid at `place`."""
    name = name.strip()
    if not name or len(name) > NAME_LENGTH:
        raise Invalid.at(*place, detail=f"A name has 1 to {NAME_LENGTH} characters.")
    if not is_text(name):
        raise Invalid.at(*place, detail="A name holds no control characters.")
    return name


def check_workspace(name: str, *place: str | int) -> str:
    """Return a workspace's name. It is sent on in a header, hence the few characters. Raises Invalid at `place`."""
    if not re.fullmatch(WORKSPACE, name) or len(name) > WORKSPACE_LENGTH:
        detail = (
            f"A workspace's name has 1 to {WORKSPACE_LENGTH} of the printable ASCII characters, "
            "and no space at its ends."
        )
        raise Invalid.at(*place, detail=detail)
    return name


def is_text(text: str) -> bool:
    """Say whether the database can hold it and a terminal can show it: no controls, no half surrogate pairs."""
    return not _UNSTORABLE.search(text)


def prefix_pattern(start: str) -> str:
    """Return the LIKE pattern for what begins with `start`."""
    return re.sub(r"([\\%_])", r"\\\1", start) + "%"
