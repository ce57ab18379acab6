"""Query parameters that make some frameworks override the path of the request. No I/O."""

from proxy.decision.parameter_names import Name
from proxy.decision.queries import Query
from proxy.http.steering_headers import STEERING_PARAMETERS
from proxy.refusals import AMBIGUOUS_REQUEST, Refused

STEERING_NAMES = frozenset(Name(name) for name, _, _ in STEERING_PARAMETERS)
_STEERING_PARAMETER = AMBIGUOUS_REQUEST.because(
    f"The query contains {' or '.join(f'`{name}`' for name, _, _ in STEERING_PARAMETERS)}, from which some frameworks "
    "take the path. Send the request without this parameter."
)


def refuse_parameters_that_steer(query: Query) -> None:
    """Raise Refused if a query contains a parameter that overrides the path."""
    if not STEERING_NAMES.isdisjoint(query.meant):
        raise Refused(_STEERING_PARAMETER)
