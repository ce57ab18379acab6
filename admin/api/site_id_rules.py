"""Validation of site ids. No I/O."""

import unicodedata
from types import MappingProxyType
from typing import Final

from admin.problems import Invalid, Place
from proxy.decision.site_ids import MAX_LENGTH, fold_site

FORBIDDEN: Final = MappingProxyType(
    {
        "/": "separates the segments of a path",
        "\\": "is a slash for some servers",
        ";": "begins a parameter in a path, and another one in a query",
        ",": "separates sites in a list",
        "%": "begins an encoded character",
        "?": "ends a path",
        "#": "ends a URL",
    }
)
"""The characters that a site id must not contain, each with the reason: some backend would split the id there."""

# Controls, format characters (zero-width, direction marks), surrogates, line and paragraph separators.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def check_site_id(site_id: str, *place: str | int) -> str:
    """Return the folded form of an id. Raises Invalid at `place` if the id is not valid."""
    where: Place = place or ("id",)
    # isprintable() is a fast first check: a CSV file may have a hundred thousand ids.
    invisible = [] if site_id.isprintable() else [each for each in site_id if unicodedata.category(each) in _INVISIBLE]
    if invisible:
        detail = f"A site id must not contain control or invisible characters. Remove U+{ord(invisible[0]):04X}."
        raise Invalid.at(*where, detail=detail)
    folded = fold_site(site_id)
    if not folded:
        raise Invalid.at(*where, detail="A site id must not be empty.")
    if site_id != site_id.strip():
        raise Invalid.at(*where, detail=f'"{site_id}" begins or ends with a space. Remove it.')
    if len(site_id) > MAX_LENGTH:
        raise Invalid.at(*where, detail=f"A site id must have at most {MAX_LENGTH} characters.")
    # The folded form too: a full-width slash becomes a slash wherever a backend normalizes.
    if wrong := [letter for letter in FORBIDDEN if letter in site_id or letter in folded]:
        letter = wrong[0]
        link = ", which" if letter in site_id else f' once a server normalizes Unicode, and "{letter}"'
        detail = (
            f'"{site_id}" contains "{letter}"{link} {FORBIDDEN[letter]}. A site id must not contain any of '
            f'{" ".join(FORBIDDEN)} – use a different id, in your API too, for example with "-" instead.'
        )
        raise Invalid.at(*where, detail=detail)
    if folded in (".", ".."):
        raise Invalid.at(*where, detail=f'"{site_id}" is not a valid site id, because in a path it means a folder.')
    return folded
