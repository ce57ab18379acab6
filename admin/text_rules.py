"""Rules for text that people enter: names, searches, workspaces. No I/O."""

import re

from admin.problems import Invalid

NAME_LENGTH = 200
WORKSPACE_LENGTH = 255
WORKSPACE = r"[!-~](?:[ -~]*[!-~])?"
_UNSTORABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Unicode's categories Cc and Cs, which are fixed. Looking up each character's category takes ten times as long."""

_WORD = re.compile(r"[^\s_.@/…-]")
"""Any character that can be in a word. The function sitelatch.words splits texts at all others."""


def check_name(name: str, *place: str | int) -> str:
    """Return a display name without surrounding spaces. Raises Invalid at `place`."""
    name = name.strip()
    if not name or len(name) > NAME_LENGTH:
        raise Invalid.at(*place, detail=f"A name must have 1 to {NAME_LENGTH} characters.")
    if not is_text(name):
        raise Invalid.at(*place, detail="A name must not contain control characters.")
    return name


def check_workspace(name: str, *place: str | int) -> str:
    """Return a workspace name, which is ASCII because upstreams get it in a header. Raises Invalid at `place`."""
    if not re.fullmatch(WORKSPACE, name) or len(name) > WORKSPACE_LENGTH:
        detail = (
            f"A workspace name must have 1 to {WORKSPACE_LENGTH} printable ASCII characters "
            "and must not begin or end with a space."
        )
        raise Invalid.at(*place, detail=detail)
    return name


def is_text(text: str) -> bool:
    """Return whether the database can store the text and a terminal can show it: no controls or lone surrogates."""
    return not _UNSTORABLE.search(text)


def has_words(search: str) -> bool:
    """Return whether a search contains more than the characters between words."""
    return _WORD.search(search) is not None
