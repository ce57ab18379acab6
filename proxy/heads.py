"""A request's head as values: what the decision is taken on. No I/O.

llhttp has parsed it; the hop-by-hop fields are gone; names are as the client spelt them.
"""

from dataclasses import dataclass

Fields = list[tuple[bytes, bytes]]
"""Header fields in the order they came, names as spelt, values without outer white space."""


@dataclass(slots=True)
class Head:
    """One request's head. `target` is the request target's bytes as they came (RFC 9112 §3.2)."""

    method: bytes
    target: bytes
    fields: Fields


@dataclass(frozen=True, slots=True)
class Peer:
    """Who sent it, as far as the decision cares: budgets are per address, trust is per configured network."""

    address: str
    trusted: bool = False
