"""Finds out whether a request may reach another path of its upstream, whatever else is wrong with it. No I/O.

Shadow mode asks this (proxy/shadow.py). Steps 7 and 8 of the decision refuse the same for requests that get that far.
"""

from proxy.decision.content_types import refuse_charset, refuse_form_body
from proxy.decision.method_override import OVERRIDE_NAMES, overriding_methods, overriding_methods_in
from proxy.decision.parameter_finder import Finder
from proxy.decision.parameter_limits import FEW_UNUSUAL
from proxy.decision.path_parameters import refuse_parameters
from proxy.decision.path_readings import read_path
from proxy.decision.pieces import PATH
from proxy.decision.queries import Query
from proxy.decision.routes import Route
from proxy.decision.second_resource import COPYING, names_second_resource
from proxy.decision.steering_parameters import STEERING_NAMES, refuse_parameters_that_steer
from proxy.http.headers import Head
from proxy.refusals import Refused

_NAMES = [*STEERING_NAMES, *OVERRIDE_NAMES]
_IN_QUERIES = Finder(_NAMES)
_IN_PATHS = Finder(_NAMES, PATH, most_unusual=FEW_UNUSUAL)


def may_reach_other_paths(route: Route, head: Head) -> bool:
    """Return whether a backend may use a path or resource that the request's own path does not name.

    A request that is too complex to check may do so.
    """
    settings, fields = route.settings, route.drop_headers.remaining(head.fields)
    path, _, raw_query = head.target.partition(b"?")
    try:
        if settings.encoded_parameters == "refuse":
            found = read_path(path)
            refuse_parameters(found.texts, _IN_PATHS, found.work)
        if raw_query:
            refuse_charset(fields, raw_query)
        # What follows a raw `#` may be read as the rest of the query.
        query = Query(_IN_QUERIES.split(raw_query.replace(b"#", b"&")), _IN_QUERIES)
        refuse_parameters_that_steer(query)
        if head.has_body and settings.form_body == "refuse":
            refuse_form_body(head.method, fields, settings.form_body)
        methods = {head.method.upper(), *overriding_methods(fields), *overriding_methods_in(query)}
    except Refused:
        return True
    copies = not COPYING.isdisjoint(methods | route.methods)
    return settings.second_resource == "refuse" and names_second_resource(fields, copies=copies)
