"""One bit for each kind of header that makes an extra step of the decision necessary. No I/O."""

from collections.abc import Iterable

from proxy.decision.method_override import OVERRIDE_HEADERS
from proxy.decision.second_resource import SECOND_RESOURCE_HEADERS

OVERRIDE = 1
SECOND_RESOURCE = 2
SITE_HEADER = 4
COOKIE = 8
CONTENT_TYPE = 16


def noticed_headers(site_headers: Iterable[bytes], *, cookies: bool) -> dict[bytes, int]:
    """Return the bits of each header by its lowercase name. `cookies` says whether cookies are checked."""
    noticed = {
        **{row[0].encode(): OVERRIDE for row in OVERRIDE_HEADERS},
        **{row[0].encode(): SECOND_RESOURCE for row in SECOND_RESOURCE_HEADERS},
        b"content-type": CONTENT_TYPE,
    }
    for name in site_headers:
        noticed[name] = noticed.get(name, 0) | SITE_HEADER
    if cookies:
        noticed[b"cookie"] = noticed.get(b"cookie", 0) | COOKIE
    return noticed
