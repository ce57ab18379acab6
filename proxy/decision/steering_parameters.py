"""Query parameters from which some frameworks take the path or a second path. No I/O.

`*` matches any beginning or ending of a name.
"""

import re

from proxy.decision.parameter_names import Name
from proxy.decision.queries import Query
from proxy.http.steering_headers import STEERING_PARAMETERS
from proxy.refusals import AMBIGUOUS_REQUEST, Refusal, Refused

_EFFECTS = {"_charset_": "the charset of the query"}
"""What a parameter sets, if it is not the path."""
_ORDINARY = {"camel*": r"(?![_-]?case|i[sz]e)"}
"""Names with a prefix that clients of other software send too."""


def _refusal(name: str, software: str) -> Refusal:
    shown = (
        f"whose name begins with `{name[:-1]}`"
        if name.endswith("*")
        else f"whose name ends with `{name[1:]}`"
        if name.startswith("*")
        else f"`{name}`"
    )
    taken = _EFFECTS.get(name, "the path")
    return AMBIGUOUS_REQUEST.because(
        f"The query contains a parameter {shown}, from which some servers take {taken}, such as those of {software}. "
        "Send the request without this parameter."
    )


_REFUSALS = {
    Name(name.rstrip("*"), prefix=name.endswith("*"), unless=_ORDINARY.get(name, "")): _refusal(name, software)
    for name, software, _ in STEERING_PARAMETERS
    if not name.startswith("*")
}
STEERING_NAMES = frozenset(_REFUSALS)
# Zope splits names at each `:` and reads `x:method:utf8` like `x:method`.
_ENDINGS = [
    (name[1:], re.compile(f"{re.escape(name[1:])}(?![a-z0-9_-])"), _refusal(name, software))
    for name, software, _ in STEERING_PARAMETERS
    if name.startswith("*")
]


def refuse_parameters_that_steer(query: Query) -> None:
    """Raise Refused if a query contains a parameter from which a known backend takes the path."""
    found = STEERING_NAMES & query.meant
    if found:
        raise Refused(next(_REFUSALS[name] for name in _REFUSALS if name in found))
    for word, ending, refusal in _ENDINGS:
        if query.has_name_with(word, ending):
            raise Refused(refusal)
