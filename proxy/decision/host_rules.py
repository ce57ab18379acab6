"""Site rules that read the host name. No I/O."""

import re
from typing import ClassVar

from proxy.decision.named_sites import Named
from proxy.decision.path_patterns import SITE_EXAMPLE, SITE_MARK, SiteExample
from proxy.decision.site_ids import by_folded_id
from proxy.http.headers import FOLDED, Fields
from proxy.http.percent_encoding import text
from proxy.refusals import AMBIGUOUS_REQUEST, Refused

_FORWARDED_HOST = re.compile(rb'host[ \t]*+=[ \t"]*+([^";,\s]++)', re.IGNORECASE)
_FORWARDED_HOST_NAMES = (b"x-forwarded-host", b"forwarded")
_LONGEST_FORWARDED = 2048
"""The maximum length, in bytes, of forwarded hosts. A client may have written the first part of the value that a
trusted proxy forwards."""
_LONG_FORWARDED_HOST = AMBIGUOUS_REQUEST.because(
    f"X-Forwarded-Host and Forwarded are longer than {_LONGEST_FORWARDED} bytes together. Configure the proxy in front "
    "to overwrite these headers, not to append to the ones that the client sent."
)
_HOSTS_DIFFER = AMBIGUOUS_REQUEST.because(
    "The Host header and the host that a trusted proxy forwarded name different sites. Configure the proxy to forward "
    "the Host of the client."
)


class HostSiteRule:
    """A host name that contains the site's id. Case does not matter in host names."""

    form: ClassVar[str] = f"host:{SITE_MARK}.DOMAIN"
    __slots__ = ("_pattern", "template")

    def __init__(self, template: str) -> None:
        if template.count(SITE_MARK) != 1 or not re.fullmatch(r"[a-z0-9.-]*\{site\}(?:[a-z0-9.-]*[a-z0-9])?", template):
            raise ValueError(
                f"host:{template}: write a lowercase host name with one {SITE_MARK}, without a port or a final dot"
            )
        self.template = template
        before, after = template.split(SITE_MARK)
        self._pattern = re.compile(f"{re.escape(before)}(.+){re.escape(after)}\\Z", re.DOTALL)

    @classmethod
    def short(cls, template: str) -> "HostSiteRule":
        return cls(template)

    def written(self) -> str:
        return f"host:{self.template}"

    def describe(self) -> str:
        return f"in the host name `{self.template.replace(SITE_MARK, SITE_EXAMPLE)}`"

    def example(self, root: str) -> SiteExample:
        return SiteExample(root, ("Host", self.template))

    def read(self, fields: Fields, into: Named) -> None:
        """Add the site that Host names. Raises Refused if a host forwarded by a trusted proxy names another site."""
        found: list[str | None] = []
        forwarded = 0
        for name, value in fields:
            lower = FOLDED[name]
            if lower == b"host":
                found.insert(0, self._site(value))
                continue
            if lower in _FORWARDED_HOST_NAMES:
                forwarded += len(value)
                if forwarded > _LONGEST_FORWARDED:
                    raise Refused(_LONG_FORWARDED_HOST)
            if lower == b"x-forwarded-host":
                found += [self._site(host.strip()) for host in value.split(b",")]
            elif lower == b"forwarded":
                found += [self._site(host) for host in _FORWARDED_HOST.findall(value)]
        if len(set(found)) > 1:
            raise Refused(_HOSTS_DIFFER)
        if found and found[0] is not None:
            into.sites[by_folded_id(found[0])] = None

    def _site(self, host: bytes) -> str | None:
        whole = text(host).lower()
        name, colon, port = whole.rpartition(":")
        fits = self._pattern.match((name if colon and port.isdecimal() else whole).removesuffix("."))
        return fits[1] if fits else None
