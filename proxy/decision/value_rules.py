"""How the values of query parameters and headers name sites. No I/O."""

import re

from proxy.decision.named_sites import MAX_SITES, TOO_MANY_SITES, Named
from proxy.decision.path_patterns import SITE_EXAMPLE, SITE_MARK, Scope, shown_path
from proxy.decision.site_ids import impossible_site, name_by_id
from proxy.refusals import Refused
from proxy.settings import ValueRule


class ValueReader:
    """Reads sites from the value of a parameter or header: with templates, a separator, and a word for all sites."""

    __slots__ = ("_all", "_patterns", "_separator", "is_plain", "scope")

    def __init__(self, rule: ValueRule) -> None:
        if rule.template is not None and rule.templates is not None:
            raise ValueError("a site rule has either template or templates, not both")
        for template in rule.forms:
            if template.count(SITE_MARK) != 1:
                raise ValueError(f"template {template!r} must contain {SITE_MARK} once")
        if rule.separator == "":
            raise ValueError("separator must not be empty: leave it out if a value names one site")
        self._separator = rule.separator
        self._all = rule.all
        self._patterns = (
            []
            if rule.forms == (SITE_MARK,)
            else [
                re.compile(f"{re.escape(before)}(.*){re.escape(after)}\\Z", re.DOTALL)
                for before, _, after in (template.partition(SITE_MARK) for template in rule.forms)
            ]
        )
        self.is_plain = rule.forms == (SITE_MARK,) and rule.separator is None and rule.all is None
        """Whether a value is always a single site id."""
        self.scope = Scope(rule.paths) if rule.paths is not None else None
        """The paths to which the rule applies. None means all paths."""

    def named(self, value: str) -> Named:
        """Return what a decoded value names. Raises Refused if it names too many sites."""
        found = Named.none()
        if self._all is not None and value == self._all:
            found.every_site = True
            return found
        if self._patterns:
            fits = next(filter(None, (pattern.match(value) for pattern in self._patterns)), None)
            if fits is None:
                found.sites[impossible_site(value)] = None
                return found
            value = fits[1]
        if self._separator and value.count(self._separator) >= MAX_SITES:
            raise Refused(TOO_MANY_SITES)
        for part in dict.fromkeys(value.split(self._separator)) if self._separator else (value,):
            # A list in a header may contain spaces (RFC 9110 §5.6.1). Site ids have no outer spaces.
            site = part.strip(" \t") if self._separator else part
            if self._all is not None and site == self._all:
                found.every_site = True
            else:
                found.sites[name_by_id(site)] = None
        return found


def describe_values(rule: ValueRule) -> str:
    """Return the part of a rule's description that says how values name sites, and on which paths."""
    text = ""
    if rule.forms != (SITE_MARK,):
        text += f", written {' or '.join(f'`{form.replace(SITE_MARK, SITE_EXAMPLE)}`' for form in rule.forms)}"
    if rule.separator is not None:
        text += f", several separated by `{rule.separator}`"
    if rule.all is not None:
        text += f", or `{rule.all}` for all sites"
    if rule.paths is not None:
        text += f", on {' and '.join(f'`{shown_path(path)}`' for path in rule.paths)}"
    return text


def written_scope(rule: ValueRule) -> str:
    """Return a rule's paths, as `explain` shows them after the short form of the rule."""
    return f" on {', '.join(rule.paths)}" if rule.paths is not None else ""
