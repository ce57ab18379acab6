"""Site rules that read a request header. No I/O."""

import re
from collections.abc import Iterable
from typing import ClassVar

from proxy.decision.named_sites import Named
from proxy.decision.path_patterns import SiteExample
from proxy.decision.site_ids import impossible_site, name_by_id
from proxy.decision.value_rules import ValueReader, describe_values, written_scope
from proxy.http.headers import FOLDED, Fields, fold_name
from proxy.http.percent_encoding import text
from proxy.refusals import AMBIGUOUS_REQUEST, Refused
from proxy.settings import HeaderRule

_LONGEST_ID = 4096
"""A longer value cannot be a single site id, even with the text that a template adds."""


class HeaderSiteRule(ValueReader):
    """A request header that names sites."""

    form: ClassVar[str] = "header:NAME"
    __slots__ = ("_ambiguous", "_repeated", "folded_name", "name", "rule")

    def __init__(self, rule: HeaderRule) -> None:
        super().__init__(rule)
        self.rule = rule
        if not re.fullmatch(r"[A-Za-z0-9_-]+", rule.header):
            raise ValueError(f"{rule.header!r} is not a header name that is forwarded: use letters, digits and `-`")
        self.name = rule.header.lower().encode()
        self.folded_name = fold_name(self.name)
        self._ambiguous = AMBIGUOUS_REQUEST.because(
            f"The header `{rule.header}` names the site, and this request contains a look-alike that some servers "
            f"read as the same header. Send only `{rule.header}`, in exactly this spelling."
        )
        self._repeated = AMBIGUOUS_REQUEST.because(
            f"The header `{rule.header}` names the site, and this request contains it more than once. Some servers "
            "join the values with a comma, others read only the first or the last. Send it once."
        )

    @classmethod
    def short(cls, name: str) -> "HeaderSiteRule":
        return cls(HeaderRule(header=name))

    def written(self) -> str:
        return f"header:{self.rule.header}{written_scope(self.rule)}"

    def describe(self) -> str:
        return f"in the header `{self.rule.header}`{describe_values(self.rule)}"

    def example(self, root: str) -> SiteExample:
        path = root if self.rule.paths is None else self.rule.paths[0].removesuffix("**")
        return SiteExample(path, (self.rule.header, self.rule.forms[0]))

    def read(self, fields: Fields, dropped: Iterable[tuple[bytes, bytes]]) -> Named | None:
        """Return what the header names, or None if it is missing. Raises Refused on a look-alike, even if dropped."""
        if any(FOLDED[name] == self.folded_name for name, _ in dropped):
            raise Refused(self._ambiguous)
        value = self._value(fields)
        if value is None:
            return None
        if len(value) > _LONGEST_ID and (self._separator is None or not _is_utf8(value)):
            return Named({impossible_site(""): None})
        return self.named(text(value))

    def site_in(self, fields: Fields) -> str:
        """Return the site in the header of a plain rule. The header must exist. Raises Refused as `read` does. Hot."""
        value = self._value(fields) or b""
        return name_by_id(text(value)) if len(value) <= _LONGEST_ID else impossible_site("")

    def _value(self, fields: Fields) -> bytes | None:
        folded_name = self.folded_name
        found = [field for field in fields if FOLDED[field[0]] == folded_name]
        if len(found) == 1:
            name, value = found[0]
            if name.lower() != self.name:
                raise Refused(self._ambiguous)
            return value
        if not found:
            return None
        if any(name.lower() != self.name for name, _ in found):
            raise Refused(self._ambiguous)
        # WSGI and CGI servers join the values with a comma (RFC 3875 §4.1.18), which is correct only for a plain list.
        if self._separator != "," or self._patterns:
            raise Refused(self._repeated)
        return b",".join([value for _, value in found])


def _is_utf8(value: bytes) -> bool:
    """Return whether bytes are UTF-8. Long bytes that are not take long to decode with `text`."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
