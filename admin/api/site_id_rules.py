"""Validation of site ids. No I/O."""

import unicodedata

from admin.problems import Invalid, Place
from proxy.decision.site_ids import MAX_LENGTH, fold_site

FORBIDDEN = "/\\;,%?#"
"""Each splits a site's id from what stands beside it, for one backend or another."""

# Controls; invisible (zero-width, direction marks); half of a pair; line and paragraph separators.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def check_site_id(site_id: str, *place: str | int) -> str:
    """Return the id's folded form. Raises Invalid at `place` where it cannot be an id."""
    where: Place = place or ("id",)
    # What is printable holds none, and is seen to be at once; a CSV has a hundred thousand ids.
    unseen = [] if site_id.isprintable() else [each for each in site_id if unicodedata.category(each) in _UNSEEN]
    if unseen:
        detail = f"A site's id holds no control or invisible characters. Take out U+{ord(unseen[0]):04X}."
        raise Invalid.at(*where, detail=detail)
    folded = fold_site(site_id)
    if not folded:
        raise Invalid.at(*where, detail="A site's id cannot be empty.")
    if site_id != site_id.strip():
        raise Invalid.at(*where, detail=f'"{site_id}" begins or ends with a space. Take it out.')
    if len(site_id) > MAX_LENGTH:
        raise Invalid.at(*where, detail=f"A site's id has at most {MAX_LENGTH} characters.")
    # Also in the folded form: a full-width slash becomes a slash wherever somebody normalises.
    if wrong := [letter for letter in FORBIDDEN if letter in site_id or letter in folded]:
        detail = f'"{site_id}" holds "{wrong[0]}". A site\'s id holds none of {" ".join(FORBIDDEN)}'
        raise Invalid.at(*where, detail=detail)
    if folded in (".", ".."):
        raise Invalid.at(*where, detail=f'"{site_id}" cannot be an id: in a path it means a folder.')
    return folded
