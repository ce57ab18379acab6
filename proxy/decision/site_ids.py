"""When two site ids are equal for some backend, and the names by which requests refer to a site. No I/O."""

import unicodedata
from typing import Final

MAX_LENGTH: Final = 255
"""The most characters of a site id."""

_BY_FOLD: Final = "/"
"""Begins every name that stands for a folded id. No site id contains it, so the two kinds of names never collide."""


def fold_site(site_id: str) -> str:
    """Return the form in which ids are compared: NFKC, casefolded and trimmed. Longer text stays unchanged."""
    # NFKC takes quadratic time: a megabyte of accents would take hours.
    if len(site_id) > MAX_LENGTH:
        return site_id
    # Case folding can undo the normal form, so the text is normalized again.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", site_id).casefold())
    return folded.strip()


def by_folded_id(host_part: str) -> str:
    """Return the name of the site with the same folded id, because case does not matter in host names."""
    return _BY_FOLD + fold_site(host_part)


def folded_part(name: str) -> str | None:
    """Return the folded id that a name stands for, or None if the name is an id."""
    return name[1:] if name.startswith(_BY_FOLD) else None


def names_of(site_id: str) -> tuple[str, str]:
    """Return both names by which requests refer to a site: its id, and its folded id."""
    return site_id, by_folded_id(site_id)


_IMPOSSIBLE: Final = "\0"
"""Begins the name of a value that cannot be a site's id. No id holds it, so no grant covers such a name."""


def impossible_site(value: str) -> str:
    """Return a name for a value that matches no template of its rule."""
    return _IMPOSSIBLE + value


def name_by_id(value: str) -> str:
    """Return the name for a site id in a request. It never equals a name by folded id: only hosts give those."""
    return impossible_site(value) if _BY_FOLD in value else value


def shown_id(name: str) -> str:
    """Return the id that a name stands for, or the value that cannot be one."""
    return name.removeprefix(_IMPOSSIBLE) if name.startswith(_IMPOSSIBLE) else folded_part(name) or name
