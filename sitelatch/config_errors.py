"""Error messages for invalid values: the rule and how to fix them, but never the value."""

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from proxy.settings import RouteSettings
from sitelatch.config_source import Fault, value_at
from sitelatch.toml_scanner import Place
from sql.settings import SettingError

SITE_RULE = ("str", "QueryRule", "HeaderRule")
"""The names that pydantic puts into an error location for the forms of a site rule."""

RULES = {
    "bool_parsing": "must be true or false.",
    "bool_type": "must be true or false.",
    "finite_number": "must be a finite number.",
    "float_parsing": "must be a number.",
    "float_type": "must be a number.",
    "int_from_float": "must be a whole number.",
    "int_parsing": "must be a whole number.",
    "int_type": "must be a whole number.",
    "model_type": "must be a table.",
    "missing": "is missing. Add it.",
    "string_type": 'must be text in quotes: "…".',
    "tuple_type": "must be a list: […].",
}

RULES_OF_KEYS = {
    "proxy.routes.name": "must be 1 to 63 characters from a-z, 0-9, _ and -. It is a label in metrics and logs.",
    "proxy.routes": "must contain at least one [[proxy.routes]] table with `name` and `upstream`.",
    "keys.from": 'must list at least one location, like ["header:X-API-Key", "bearer"].',
    "admin.oidc.allow": "must contain at least one table. Signing in alone does not make someone an admin.",
    "admin.identity_proxy.allow": "must contain at least one table. Signing in alone does not make someone an admin.",
    "admin.identity_proxy.addresses": 'must list at least one address, a network like "10.0.0.0/8", or "unix".',
    "admin.tokens.email": 'must be an email address, like "ada@example.com".',
    "admin.tokens.sha256": "must be 64 lowercase hexadecimal digits. `sitelatch tokens new` prints a valid entry.",
}
"""Messages for keys for which the general message in RULES would say too little."""


_OF_ROUTES_ONLY = frozenset(RouteSettings.model_fields) - {"name", "path", "host"}
"""Keys that exist only in routes. In any other table they are probably misplaced."""


def invalid_values(error: ValidationError, model: type[BaseModel], tables: dict[str, Any]) -> Iterator[Fault]:
    """Yield a fault for each validation error."""
    errors = error.errors(include_url=False, include_input=False)
    for details in errors:
        if details["type"] == "too_short" and any(_inside(other["loc"], details["loc"]) for other in errors):
            continue  # pydantic counts only valid entries, so an invalid entry may cause this error too
        if (fault := _fault(details, model, tables)) is not None:
            yield fault


def _inside(place: Place, outer: Place) -> bool:
    return len(place) > len(outer) and place[: len(outer)] == outer


def _fault(details: ErrorDetails, model: type[BaseModel], tables: dict[str, Any]) -> Fault | None:
    place, kind, form = details["loc"], details["type"], ""
    if any(part in SITE_RULE for part in place):
        at = next(index for index, part in enumerate(place) if part in SITE_RULE)
        form, rule = str(place[at]), value_at(tables, place[:at])
        if isinstance(rule, dict) and ("query" in rule or "header" in rule):
            if form != ("QueryRule" if "query" in rule else "HeaderRule"):
                return None
        else:
            return Fault(place[:at], 'must be text like "query:site", or a table with `query` or `header`.')
        place = (*place[:at], *place[at + 1 :])
    names = [str(part) for part in place if isinstance(part, str)]
    if kind == "extra_forbidden":
        what = "key" if len(names) > 1 else "table"
        return Fault(place, f"is not a known {what}. {_suggestion(model, names, form)}")
    if isinstance(cause := details.get("ctx", {}).get("error"), SettingError):
        place = (*place, *cause.place)
    # The message of a validator in the settings classes already states the rule.
    of_the_key = kind not in ("missing", "value_error") and isinstance(place[-1], str)
    special = RULES_OF_KEYS.get(".".join(names)) if of_the_key else None
    return Fault(place, special or RULES.get(kind) or _rule_with_numbers(details))


def unusable_texts(tables: dict[str, Any]) -> Iterator[Fault]:
    """Yield each text that no option can use: one with null characters, or that is not UTF-8."""
    waiting: list[tuple[Place, Any]] = [((), tables)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [((*place, key), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            waiting += [((*place, index), inner) for index, inner in enumerate(value)]
        elif isinstance(value, str) and re.search("[\0\ud800-\udfff]", value):
            yield Fault(place, "must be UTF-8 text without null characters.")


def sentence(text: object) -> str:
    """Return the text of an error, ending in a period or a question mark."""
    message = str(text)
    return message if message.endswith((".", "?")) else f"{message}."


def _rule_with_numbers(details: ErrorDetails) -> str:
    context = details.get("ctx", {})
    match details["type"]:
        case "greater_than":
            return f"must be greater than {context['gt']:g}."
        case "greater_than_equal":
            return f"must be {context['ge']:g} or more."
        case "less_than_equal":
            return f"must be {context['le']:.12g} or less."
        case "literal_error":
            return f"must be {context['expected']}.".replace("'", '"')
        case "string_too_short" | "too_short":
            return "must not be empty."
        case _:
            return sentence(details["msg"].removeprefix("Value error, "))


def _suggestion(model: type[BaseModel], names: Sequence[str], form: str) -> str:
    """Return a hint for an unknown key: where it belongs, the key that was probably meant, or all known keys."""
    table = model
    for name in names[:-1]:
        if (inner := _table_of(table, name, form)) is not None:
            table = inner
    if names[:-1] in ([], ["proxy"]) and names[-1] in _OF_ROUTES_ONLY:
        return f"It belongs in a route: {_in_a_route(names[-1])}."
    known = [field.alias or key for key, field in table.model_fields.items()]
    if close := difflib.get_close_matches(names[-1], known, n=1, cutoff=0.5):
        return f"Did you mean `{close[0]}`?"
    return f"Known {'keys' if len(names) > 1 else 'tables'}: {', '.join(known)}."


def _in_a_route(name: str) -> str:
    is_table = _table_of(RouteSettings, name, "") is not None and name != "sites"
    return f"write [proxy.routes.{name}] below its other keys" if is_table else f"write {name} below [[proxy.routes]]"


def _table_of(model: type[BaseModel], name: str, form: str) -> type[BaseModel] | None:
    """Return the model of the table `name`. `form` selects one of the models of a site rule."""
    field = next((field for key, field in model.model_fields.items() if (field.alias or key) == name), None)
    waiting: list[Any] = [field.annotation] if field is not None else []
    tables = []
    while waiting:
        kind = waiting.pop(0)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            tables.append(kind)
        waiting.extend(get_args(kind))
    return next((table for table in tables if table.__name__ == form), next(iter(tables), None))
