"""Requests of real API clients and popular data APIs, each with its source. They must pass byte for byte.

`SHAPES` pass with the site rules that they show and, but for a few, with no other key of the route. `WANTED` need
config that exists for them: scopes of rules, templates, arrays, methods, CORS and the like. `REFUSED` do not pass.
"""

from tests.traffic import (
    analytics,
    browsers,
    clients,
    monitoring,
    objects,
    refused,
    search,
    tables,
    time_series,
    wanted,
)
from tests.traffic.shape import Shape

SHAPES: list[Shape] = [
    *clients.SHAPES,
    *browsers.SHAPES,
    *analytics.SHAPES,
    *time_series.SHAPES,
    *search.SHAPES,
    *tables.SHAPES,
    *objects.SHAPES,
    *monitoring.SHAPES,
]
WANTED: list[Shape] = wanted.SHAPES
REFUSED = refused.SHAPES
