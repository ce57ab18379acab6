"""The sites that parts of a request name. No I/O."""

from dataclasses import dataclass
from typing import NamedTuple

from proxy.refusals import AMBIGUOUS_REQUEST, Refused

MAX_SITES = 64
"""The maximum number of sites that one request may name. With more, even refusing a request would be expensive."""

TOO_MANY_SITES = AMBIGUOUS_REQUEST.because(
    f"The request names more than {MAX_SITES} sites. Split the request into several."
)


@dataclass(slots=True)
class Named:
    """What one part of a request names: the sites without duplicates, in order, and whether it asks for all sites."""

    sites: dict[str, None]
    every_site: bool = False

    @classmethod
    def none(cls) -> "Named":
        """Return an instance that names nothing."""
        return cls({})

    def __bool__(self) -> bool:
        """Return whether anything is named."""
        return bool(self.sites) or self.every_site

    def add(self, more: "Named") -> None:
        """Add what another part names. Raises Refused if there are too many sites."""
        self.sites.update(more.sites)
        self.every_site |= more.every_site
        if len(self.sites) > MAX_SITES:
            raise Refused(TOO_MANY_SITES)

    def with_more(self, more: "Named") -> "Named":
        """Add what another part names, and return `self`. Raises Refused if there are too many sites."""
        self.add(more)
        return self

    def is_within(self, allowed: "Named") -> bool:
        """Return whether everything that is named is allowed."""
        return self.sites.keys() <= allowed.sites.keys() and (allowed.every_site or not self.every_site)

    def without_empty(self) -> "Named":
        """Return a copy without the empty name, which does not name a site on a path outside the rule's scope."""
        return Named({site: None for site in self.sites if site.strip()}, self.every_site)


class TwoReadings:
    """What a query names in each of its two valid readings: with `+` as a plus, and with `+` as a space."""

    __slots__ = ("_form", "literal")

    def __init__(self) -> None:
        self.literal = Named.none()
        """The reading according to RFC 3986: `+` is a plus."""
        self._form: Named | None = None  # None while the readings are equal

    @property
    def form(self) -> Named:
        """The reading as an HTML form, which most frameworks use for every query: `+` is a space."""
        return self.literal if self._form is None else self._form

    @property
    def differ(self) -> bool:
        """Whether the two readings name different sites."""
        return self._form is not None and self._form != self.literal

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TwoReadings) and (self.literal, self.form) == (other.literal, other.form)

    __hash__ = None  # type: ignore[assignment]

    def add(self, literal: Named, form: Named | None = None) -> None:
        """Add what another part names. `form` is its second reading, if that differs."""
        if form is not None and self._form is None:
            self._form = Named(dict(self.literal.sites), self.literal.every_site)
        self.literal.add(literal)
        if self._form is not None:
            self._form.add(literal if form is None else form)


class Candidate(NamedTuple):
    """What a request names, in one reading."""

    sites: tuple[str, ...] = ()
    """The named sites without duplicates, in the order of the request: ids, or names made by `by_folded_id`."""
    others: tuple[str, ...] = ()
    """Sites named in places where the API does not look, according to the route's rules. They must be granted too."""
    every_site: bool = False
    """Whether the request asks for all sites: with a word (`idSite=all`), or by naming none on an `all-sites` route."""
    others_every_site: bool = False
    """Whether a word for all sites is in a place where the API does not look, according to the route's rules."""

    def with_site(self, site: str) -> "Candidate":
        """Return a candidate with one more site. Hot."""
        sites = self.sites
        if not sites:
            return Candidate((site,))
        return self if site in sites else Candidate((*sites, site))

    def with_others(self, elsewhere: Named) -> "Candidate":
        """Return a candidate with the sites of `elsewhere` added to `others`."""
        return self._replace(
            others=tuple(dict.fromkeys((*self.others, *elsewhere.sites))),
            others_every_site=self.others_every_site or elsewhere.every_site,
        )


NOTHING_NAMED = Candidate()


def combined(by_path: Candidate, by_query: Named | None, by_header: Named | None, elsewhere: Named | None) -> Candidate:
    """Combine the sites that the parts of a request name."""
    parts = [part for part in (by_query, by_header) if part]
    if not parts and not elsewhere:
        return by_path
    sites = dict.fromkeys(by_path.sites)
    for part in parts:
        sites.update(part.sites)
    return Candidate(
        tuple(sites),
        tuple(elsewhere.sites) if elsewhere else (),
        any(part.every_site for part in parts),
        elsewhere is not None and elsewhere.every_site,
    )
