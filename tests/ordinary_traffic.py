"""Requests of real API clients and popular data APIs, each with its source. They must pass byte for byte.

`SHAPES` pass with the site rules that they state, and most of them without any other setting of the route. `WANTED`
need special settings: scopes of rules, templates, arrays, methods, CORS and the like. `REFUSED` do not pass.
"""

from tests.traffic import (
    analytics,
    browsers,
    clients,
    databases,
    large,
    monitoring,
    objects,
    refused,
    search,
    services,
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
    *services.SHAPES,
    *databases.SHAPES,
    *large.SHAPES,
]
WANTED: list[Shape] = wanted.SHAPES
REFUSED = refused.SHAPES
