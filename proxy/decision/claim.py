"""The claim of a request: what it asks for. No I/O."""

from dataclasses import dataclass, field
from typing import Any

from proxy.decision.method_override import NO_METHODS, overrides_method
from proxy.decision.named_sites import NOTHING_NAMED, Candidate
from proxy.decision.route_table import RouteTable
from proxy.decision.routes import Route
from proxy.http.headers import Fields, Head
from proxy.http.plain_requests import PlainHead


@dataclass(slots=True)
class Claim:
    """The claim of a request: the sites that it asks for, in every reading, and the head to forward.

    `decide` fills it in step by step. It is mutable because a frozen class would cost 1.5 µs per request.
    """

    table: RouteTable = field(repr=False)
    head: Head = field(repr=False)
    """The request head as it arrived, without hop-by-hop fields."""
    route: Route = field(init=False, repr=False)
    """The route that matches the request. Not set if no route was found."""
    target: bytes = field(init=False, repr=False)
    """The request target to forward, without the key. Not set if there were several keys."""
    fields: Fields = field(init=False, repr=False)
    """The header fields to forward, without the key. Not set if there were several keys."""
    plain: PlainHead | None = field(default=None, repr=False)
    """The head, if the request is plain (plain_claims.py)."""
    key: bytes | None = field(default=None, repr=False)
    passes_by_itself: bool = False
    """Whether the request has passed all steps that need no key. Now only its key or its sites can cause a refusal."""
    open: bool = False
    """Whether the request passes without a key: a public endpoint, or a preflight that the route passes."""
    preflight: bool = False
    """Whether the request is a CORS preflight that Sitelatch answers itself, according to the route's `cors`."""
    named: Candidate = NOTHING_NAMED
    """The sites that the request names when read according to RFC 3986."""
    overriding: frozenset[bytes] = field(init=False, repr=False)
    """The methods that headers and parameters ask for, besides the one in the request line."""
    address: str | None = field(init=False, repr=False)
    """The client's address. It is set only for keys that are limited to networks."""
    plus_as_space: Candidate | None = None
    """The sites when `+` is read as a space, or None if they are the same. The grant decides which reading is meant."""

    def __getattr__(self, name: str) -> Any:
        """Set the attributes that few requests need when they are first read."""
        if name == "fields" and self.plain is not None:
            self.fields = self.plain.fields_without_key
            return self.fields
        if name == "overriding":
            self.overriding = NO_METHODS
            return self.overriding
        if name == "address":
            self.address = None
            return self.address
        raise AttributeError(name)

    @property
    def sites(self) -> tuple[str, ...]:
        """The names, in all readings, of the sites whose owners the decision may need."""
        named, spaced = self.named, self.plus_as_space
        if spaced is None:
            return named.sites + named.others if named.others else named.sites
        return tuple(dict.fromkeys((*named.sites, *named.others, *spaced.sites, *spaced.others)))

    def pass_without_key(self) -> None:
        """Let the request pass without a key. Remove method overrides, so that the request line counts."""
        self.open = True
        self.fields = [field for field in self.fields if not overrides_method(field[0])]

    def keep_key(self) -> None:
        """Forward the request with its key, but without the fields that are never forwarded."""
        fields = self.route.drop_headers.remaining(self.head.fields)
        if self.open:
            fields = [field for field in fields if not overrides_method(field[0])]
        self.target, self.fields = self.head.target, fields

    def name_every_site(self) -> None:
        """Treat a request that names no site as a request for all sites."""
        self.named = self.named._replace(every_site=True)
        if self.plus_as_space is not None:
            self.plus_as_space = self.plus_as_space._replace(every_site=True)
