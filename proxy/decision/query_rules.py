"""Site rules that read a query parameter. No I/O."""

import re
from collections.abc import Iterable, Sequence
from typing import ClassVar

from proxy.decision.named_sites import Named, TwoReadings
from proxy.decision.parameter_names import Name
from proxy.decision.path_patterns import SiteExample, example_target
from proxy.decision.queries import Parameter, Query
from proxy.decision.site_ids import MAX_LENGTH, impossible_site
from proxy.decision.value_readings import value_readings
from proxy.decision.value_rules import ValueReader, describe_values, written_scope
from proxy.http.percent_encoding import TOO_DEEP
from proxy.refusals import AMBIGUOUS_REQUEST, Refusal, Refused
from proxy.settings import QueryRule

_PARAMETERS_READ = 100
"""A site must be named within this many parameters (empty ones count). OpenResty's `get_uri_args` silently ignores
parameters after 100, and PHP, Node.js, qs and Tomcat ignore those after 1,000. They would not see a site
that is named later."""

_LONGEST_ID = 12 * MAX_LENGTH
"""The maximum length, in bytes, of a site id of 255 characters that is percent-encoded as UTF-8."""
_IMPOSSIBLE = Named({impossible_site(""): None})
_LONGEST_VALUE = 8192
"""A cookie value with more bytes cannot equal a value in the query, because the length of queries is limited."""
_VALUE_AND_PAIRS = re.compile(rb"[^;?]++(?>(?:[;?][A-Za-z0-9_.-]++=[^;?]*+)+)\Z")
_PLAIN_VALUE = re.compile(rb"[A-Za-z0-9._~-]*\Z")


class QuerySiteRule(ValueReader):
    """A query parameter that names sites."""

    form: ClassVar[str] = "query:NAME"
    __slots__ = (
        "_encoded_twice",
        "_holds_separators",
        "_late",
        "_replaced",
        "_respelled",
        "_separated",
        "cookie_differs",
        "name",
        "raw_name",
        "rule",
        "text",
    )

    def __init__(self, rule: QueryRule) -> None:
        super().__init__(rule)
        self.rule = rule
        if not rule.query:
            raise ValueError("query must be the name of a parameter")
        self.text = rule.query
        self.raw_name = rule.query.encode()
        self.name = Name(rule.query, array=rule.array)
        self._holds_separators = any(mark in part for mark in ";?" for part in (rule.separator or "", *rule.forms))
        named = f"The query parameter `{rule.query}` names the site, and"
        self._late = AMBIGUOUS_REQUEST.because(
            f"{named} {_PARAMETERS_READ} or more parameters precede it. Some servers ignore it there. Send it first."
        )
        self._replaced = AMBIGUOUS_REQUEST.because(
            f"{named} this request also contains `{rule.query.partition('[')[0]}`, which replaces it in some servers. "
            f"Send only `{rule.query}`."
        )
        self._respelled = AMBIGUOUS_REQUEST.because(
            f"{named} this request contains another spelling of it, such as one in another case, with brackets or "
            f"percent-encoded letters. Only some servers read that as the same parameter. Send only `{rule.query}`, in "
            "exactly this spelling."
        )
        self._encoded_twice = AMBIGUOUS_REQUEST.because(
            f"{named} its value is percent-encoded more than once, or with `%u`, which only some servers decode. "
            "Percent-encode it once, as UTF-8."
        )
        self._separated = AMBIGUOUS_REQUEST.because(
            f"{named} this request contains `;` or another `?`, where only some servers separate parameters. Separate "
            "parameters with `&`, and send `%3B` for a `;` and `%3F` for a `?` in values."
        )
        self.cookie_differs = AMBIGUOUS_REQUEST.because(
            f"{named} a cookie with the same name has another value, which some servers read instead. Send no cookie "
            f"named `{rule.query}`, or the same value."
        )

    @classmethod
    def short(cls, name: str) -> "QuerySiteRule":
        return cls(QueryRule(query=name))

    def written(self) -> str:
        return f"query:{self.rule.query}{written_scope(self.rule)}"

    def describe(self) -> str:
        return f"as the query parameter `{self.rule.query}`{describe_values(self.rule)}"

    def example(self, root: str) -> SiteExample:
        path = root if self.rule.paths is None else self.rule.paths[0].removesuffix("**")
        return SiteExample(f"{path}?{example_target(self.rule.query)}={example_target(self.rule.forms[0])}")

    def read(self, query: Query, into: TwoReadings) -> None:
        """Add the sites that a query names. Raises Refused if a lenient reading names different sites."""
        if query.is_late(_PARAMETERS_READ):
            raise Refused(self._late)
        if len(query.splits) == 1 and self._read_plain(query.splits[0], into):
            return
        literal: TwoReadings | None = None
        for parameters in query.splits:
            if any(self.name in each.meant and self.name.replaces(each.name) for each in parameters):
                raise Refused(self._replaced)
            every, exact = self._read(query, parameters)
            if literal is None:
                literal = exact
            if every != literal:
                raise Refused(self._difference(query.splits[0], is_first=parameters is query.splits[0]))
        if literal is not None:
            into.add(literal.literal, literal.form if literal.differ else None)

    def _difference(self, parameters: Iterable[Parameter], *, is_first: bool) -> Refusal:
        """Return the refusal of a query that names different sites. `is_first`: when split in the first way."""
        if not is_first:
            return self._separated
        literal = [self.name.is_literal(each.name) for each in parameters if self.name in each.meant]
        return self._encoded_twice if all(literal) else self._respelled

    def _read_plain(self, parameters: Sequence[Parameter], into: TwoReadings) -> bool:
        """Add the sites that plain parameters name. All readings agree on these. Return False if one is not plain."""
        values: dict[str, None] = {}
        for parameter in parameters:
            if self.name in parameter.meant:
                if parameter.name != self.raw_name or not _PLAIN_VALUE.match(parameter.value):
                    return False
                values[parameter.value.decode("ascii")] = None
        if self.is_plain:
            into.add(Named(values))
        else:
            for value in values:
                into.add(self.named(value))
        return True

    def read_leniently(self, query: Query, into: TwoReadings) -> None:
        """Add every site that any reading of the query names. Used for a path outside the rule's scope."""
        if len(query.splits) == 1 and self._read_plain(query.splits[0], into):
            return
        # `shop;a=1` cannot be a site id, so such a value counts only after splitting at `;`.
        whole, _ = self._read(
            query,
            [
                each
                for each in query.splits[0]
                if not self.name.replaces(each.name)
                and (self._holds_separators or not _VALUE_AND_PAIRS.match(each.value))
            ],
        )
        into.add(whole.literal, whole.form if whole.differ else None)
        if len(query.splits) > 1:
            finest, _ = self._read(query, [each for each in query.splits[-1] if not self.name.replaces(each.name)])
            into.add(finest.literal.without_empty(), finest.form.without_empty() if finest.differ else None)

    def named_in_any_reading(self, raw_value: bytes) -> Named:
        """Return every site that any reading of a raw value names."""
        if len(raw_value) > _LONGEST_VALUE:
            return _IMPOSSIBLE
        found = Named.none()
        for reading in value_readings(raw_value).every():
            found.add(self.named(reading))
        return found

    def _read(self, query: Query, parameters: Iterable[Parameter]) -> tuple[TwoReadings, TwoReadings]:
        """Return the sites in any reading of the parameters, and the sites in parameters with a literal name."""
        every, exact = TwoReadings(), TwoReadings()
        for parameter in parameters:
            if self.name not in parameter.meant:
                continue
            if len(parameter.value) > _LONGEST_ID and self._separator is None:
                if b"%25" in parameter.value:
                    raise Refused(TOO_DEEP)  # as `value_readings` does for shorter values
                every.add(_IMPOSSIBLE)
                exact.add(_IMPOSSIBLE)
                continue
            value = query.readings_of(parameter.value)
            literal = self.named(value.literal)
            form = None if value.form == value.literal else self.named(value.form)
            every.add(literal, form)
            for deeper in value.deeper:
                every.add(self.named(deeper))
            if self.name.is_literal(parameter.name):
                exact.add(literal, form)
        return every, exact
