"""Compares site ids as lenient backends do, and defines the names with which requests refer to a site. No I/O.

A name is a site id, or `/` and a folded id (see `fold_site`).
"""

import unicodedata
from typing import Final

MAX_LENGTH: Final = 255
"""The maximum length of a site id in characters."""

_BY_FOLD: Final = "/"
"""The prefix of a name with a folded id. Site ids cannot contain it, so the two kinds of names never collide."""


def fold_site(site_id: str) -> str:
    """Return the form in which ids are compared: NFKC, casefolded and trimmed. Text longer than an id is unchanged."""
    # NFKC takes quadratic time: a megabyte of accents would take hours.
    if len(site_id) > MAX_LENGTH:
        return site_id
    # Case folding can undo the normal form, so the text is normalized again.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", site_id).casefold())
    return folded.strip()


def by_folded_id(host_part: str) -> str:
    """Return the name for the site with this folded id. Rules for hosts use it, because host names ignore case."""
    return _BY_FOLD + fold_site(host_part)


def folded_part(name: str) -> str | None:
    """Return the folded id in a name, or None if the name is a site id."""
    return name[1:] if name.startswith(_BY_FOLD) else None


def names_of(site_id: str) -> tuple[str, str]:
    """Return both names by which requests refer to a site: by id and by folded id."""
    return site_id, by_folded_id(site_id)


_IMPOSSIBLE: Final = "\0"
"""The prefix of a name for a value that cannot be a site id. Site ids cannot contain it, so no grant covers such a
name."""


def impossible_site(value: str) -> str:
    """Return a name for a value that matches no template of its rule."""
    return _IMPOSSIBLE + value


def name_by_id(value: str) -> str:
    """Return the name for a site id in a request. It is never a name by folded id, which only host rules produce."""
    return impossible_site(value) if _BY_FOLD in value else value


def shown_id(name: str) -> str:
    """Return the id or folded id in a name, or the original value if it cannot be a site id."""
    return name.removeprefix(_IMPOSSIBLE) if name.startswith(_IMPOSSIBLE) else folded_part(name) or name
