"""Compares the report of a backend about one request with the decision that let the request pass.

Every backend responds with the same JSON object:

    {"id": X-Request-Id, "method": "GET", "endpoint": "site", "site": "shop",
     "reads": [["query", "args.get", ["shop"]], ["header", "headers.get", []], …]}

`endpoint` is the route that its router chose: `site` (/api/sites/{site}/…), `query` (/api/query, /api/export/…),
`lookup` (/api/lookup), `list` (/api/sites), `everything` (/api/reports/everything), `static` or `none`. `reads` lists
the values that each API of the framework for reading a site, or the host, returned, whatever the endpoint.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from proxy.decision.second_resource import COPYING, names_second_resource
from tests.backends.door import Sent
from tests.backends.headers import SECOND_RESOURCES
from tests.backends.request import Request
from tests.backends.rulesets import KEY, OWN, RULE_SETS, sites_in

Report = Mapping[str, Any]

_WITHOUT_SITE = ("list", "everything")


@dataclass(frozen=True)
class Fault:
    """One difference between the decision and the behavior of the backend. Faults of one kind are reported together."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


def faults_sent(request: Request, sent: Sent) -> list[Fault]:
    """Return the faults in the forwarded bytes, independent of the backend."""
    found = []
    copies = not COPYING.isdisjoint(method.encode() for method in RULE_SETS[request.rules].methods)
    text = sent.head
    for _ in range(4):
        if KEY.encode() in text:
            found.append(Fault("key", "the key is forwarded to the backend"))
            break
        text = unquote_to_bytes(text)
    for line in sent.head.split(b"\r\n")[1:]:
        spelled, _, value = line.partition(b":")
        name = spelled.lower().replace(b"_", b"-")
        if name in _SECOND and (name not in _BY_VALUE or names_second_resource([(name, value.strip())], copies=copies)):
            found.append(Fault("second resource", f"{name.decode()} is forwarded to the backend"))
    return found


_SECOND = frozenset(name.lower() for name, _ in SECOND_RESOURCES)
_BY_VALUE = (b"if", b"source", b"upload-concat")
"""Headers that name a resource only with some values: `If` in a tagged list, `Upload-Concat` in a final upload."""


def faults(request: Request, sent: Sent, report: Report) -> list[Fault]:
    """Return the differences between the report and the decision."""
    return list(_faults(request, sent, report))


def _faults(request: Request, sent: Sent, report: Report) -> Iterator[Fault]:
    rules = RULE_SETS[request.rules]
    endpoint, site = report["endpoint"], report["site"]
    method = str(report["method"]).upper()
    if method not in rules.methods:
        yield Fault("method", f"the backend executes {method}")
    if sent.open:
        if endpoint not in ("static", "none"):
            yield Fault("keyless", f"without a key, the backend serves `{endpoint}`")
        return
    if f"{method} /api/**" in rules.refuse and endpoint not in ("static", "none"):
        yield Fault("refused method", f"the backend executes {method}, which the route refuses")
    if endpoint == "site" and not site:
        if sent.named_by.get("path"):
            yield Fault("no site by path", "the path rule names the site, but the backend reads none")
        endpoint = "none"
    served = sites_in(rules, "path", str(site)) if endpoint == "site" else []
    if endpoint == "site" and served != [OWN] and not (rules.scoped and _OWN_AND_PAIRS.match(str(site))):
        yield Fault("other site by path", f"the backend serves {site!r}")
    read = {"query": True, "header": True}
    for part, way, values in report["reads"]:
        if part not in rules.parts or (part == "merged" and rules.scoped and endpoint != "query"):
            continue
        sites = [site for value in values for site in sites_in(rules, part, value) if site]
        if rules.scoped:
            sites = [OWN if _OWN_AND_PAIRS.match(site) else site for site in sites]
        if wrong := [value for value in sites if value != OWN]:
            yield Fault(f"other site by {part}", f"the backend reads {wrong[0]!r} with {way}")
        if part in read and not sites:
            read[part] = False
    if rules.reads_alike:
        yield from _unread_scoped(endpoint, read) if rules.scoped else _unread(endpoint, read, sent)


_OWN_AND_PAIRS = re.compile(re.escape(OWN) + r"(?:[;?][A-Za-z0-9_.-]+=.*)\Z", re.DOTALL)
"""`shop;a=1` on paths where the API reads no site. It is not a site ID, but some servers read it as `shop` and `a`."""


def _unread_scoped(endpoint: str, read: Mapping[str, bool]) -> Iterator[Fault]:
    if endpoint in _WITHOUT_SITE:
        yield Fault("no site", f"the backend serves `{endpoint}`, although no rule names a site there")
    if endpoint == "query" and not read["query"]:
        yield Fault("no site by query", "the backend reads no site on a path of the query rule")
    if endpoint == "lookup" and not read["header"]:
        yield Fault("no site by header", "the backend reads no site on a path of the header rule")


def _unread(endpoint: str, read: Mapping[str, bool], sent: Sent) -> Iterator[Fault]:
    if sent.named_by.get("path") and endpoint not in ("site", "none"):
        yield Fault("no site by path", f"the path rule names the site, but the backend serves `{endpoint}`")
    for part in ("query", "header"):
        if sent.named_by.get(part) and not read[part]:
            yield Fault(f"no site by {part}", "the rule names the site, but the backend reads none")
