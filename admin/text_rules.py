"""Rules for text that people enter: names, searches, workspaces. No I/O."""

import re

from admin.problems import Invalid

NAME_LENGTH = 200
EMAIL_LENGTH = 254
WORKSPACE_LENGTH = 255
WORKSPACE = r"[!-~](?:[ -~]*[!-~])?"
_ATOM = r"[^\s@.()<>\[\],:;\\\"]+"
_LETTER = r"[^\s!-/:-@\[-`{-~\u3002\uff0e\uff61]"
"""A letter or digit of a domain, of any script. The last three characters count as dots in some programs."""
_LABEL = f"{_LETTER}(?:(?:{_LETTER}|-){{0,61}}{_LETTER})?"
_EMAIL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")
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


def is_email(text: str) -> bool:
    """Return whether the text has the form of an email address (RFC 5321 §4.1.2, and RFC 6531 for other scripts).

    Quoted names and addresses in brackets are not accepted, because hardly anybody has one.
    """
    name, _, _ = text.partition("@")
    return len(text) <= EMAIL_LENGTH and len(name) <= 64 and text.isprintable() and _EMAIL.fullmatch(text) is not None


def check_email(text: str, *place: str | int) -> str:
    """Return an email address that a person entered. Raises Invalid at `place`.

    It must have a domain with a dot, which is easily forgotten, or be local.
    """
    if not is_complete_email(text):
        raise Invalid.at(*place, detail='must be an email address, like "ada@example.com".')
    return text


def is_complete_email(text: str) -> bool:
    """Return whether the text is an email address whose domain has a dot, or is local."""
    domain = text.partition("@")[2]
    return is_email(text) and ("." in domain or domain.lower() == "localhost")


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
