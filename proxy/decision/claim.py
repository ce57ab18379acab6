"""What a request asks for. No I/O."""

from dataclasses import dataclass, field

from proxy.decision.method_override import overrides_method
from proxy.decision.named_sites import NOTHING_NAMED, Candidate
from proxy.decision.route_table import RouteTable
from proxy.decision.routes import Route
from proxy.http.headers import Fields, Head


@dataclass(slots=True)
class Claim:
    """What a request asks for, in every reading, and the head that is forwarded for it.

    `decide` fills it in. It is not frozen only because that costs 1.5 µs a request.
    """

    table: RouteTable = field(repr=False)
    head: Head = field(repr=False)
    """The head that is judged."""
    route: Route = field(init=False, repr=False)
    """Not set if no route was found."""
    target: bytes = field(init=False, repr=False)
    """The target that is forwarded: without the key. Not set if there were several keys."""
    fields: Fields = field(init=False, repr=False)
    """The header fields that are forwarded: without the key. Not set if there were several keys."""
    key: bytes | None = field(default=None, repr=False)
    passes_by_itself: bool = False
    """Whether the request alone gives no reason to refuse it: only its key and the owners of sites may."""
    open: bool = False
    """Whether it passes without a key: a public endpoint, or a preflight that the route passes."""
    preflight: bool = False
    """Whether it is a CORS preflight that Sitelatch answers itself, as the route's `cors` says."""
    named: Candidate = NOTHING_NAMED
    """What it names by RFC 3986."""
    plus_as_space: Candidate | None = None
    """What it names with `+` read as a space, if that differs. The grant decides which of the two is meant."""

    @property
    def sites(self) -> tuple[str, ...]:
        """The name of every site, in any reading, whose owner the decision may have to know."""
        named, spaced = self.named, self.plus_as_space
        if spaced is None:
            return named.sites + named.others if named.others else named.sites
        return tuple(dict.fromkeys((*named.sites, *named.others, *spaced.sites, *spaced.others)))

    def pass_without_key(self) -> None:
        """Let the request pass without a key, and as the method that it shows: remove method overrides."""
        self.open = True
        self.fields = [field for field in self.fields if not overrides_method(field[0])]

    def name_every_site(self) -> None:
        """Take a request that names no site for one that asks for all sites."""
        self.named = self.named._replace(every_site=True)
        if self.plus_as_space is not None:
            self.plus_as_space = self.plus_as_space._replace(every_site=True)
