"""Config overrides from the environment: SITELATCH_TABLE__KEY sets a value.

SITELATCH_TABLE__KEY_FILE reads the value from a file. Lists and tables are written as JSON. A name without a double
underscore is ignored, because Kubernetes sets variables such as SITELATCH_PORT in every container if a service is
called `sitelatch`.
"""

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel

from sitelatch.config_source import ConfigSource
from sitelatch.toml_scanner import Place
from sql.text_files import NotText, read_text

PREFIX = "SITELATCH_"
FROM_FILE = "_file"
_BOOLEANS = {"true": True, "false": False}


def apply_environment(source: ConfigSource, model: type[BaseModel], environ: Mapping[str, str]) -> dict[str, str]:
    """Apply every override to the tables of `source`.

    Returns an error message for each variable that cannot be used. Messages never contain values.
    """
    wrong: dict[str, str] = {}
    given: dict[Place, str] = {}
    # Sorting applies an override of a whole table before overrides of the keys in it, because its name is shorter.
    for variable in sorted(name for name in environ if name.startswith(PREFIX) and "__" in name):
        path = variable.removeprefix(PREFIX).lower().split("__")
        value = environ[variable]
        annotation = _annotation(model, path)
        if from_file := annotation is None and path[-1].endswith(FROM_FILE):
            path[-1] = path[-1].removesuffix(FROM_FILE)
            annotation = _annotation(model, path)
        if annotation is None:
            wrong[variable] = f"the config has no such key. {_suggestion(model, variable)}"
            continue
        place: Place = tuple(path)
        earlier = given.setdefault(place, variable)
        source.override(place, variable)
        try:
            if earlier != variable:
                raise ValueError(f"is set by {earlier} as well. Set only one of them.")
            value = _file_text(value) if from_file else value
            _put(
                source.tables,
                path,
                _BOOLEANS.get(value.lower(), value) if annotation is bool else _parsed(annotation, value),
            )
        except json.JSONDecodeError:
            wrong[variable] = "must be JSON, because the value is a list or a table."
        except RecursionError:
            wrong[variable] = "is nested too deeply."
        except ValueError as error:
            wrong[variable] = str(error)
    return wrong


def ignored_variables(model: type[BaseModel], environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a warning for each variable that sets nothing because it has one underscore in place of two."""
    known = {variable.replace("__", "_"): variable for variable in _variables(model)}
    for name in sorted(environ):
        key = name.removesuffix(FROM_FILE.upper())
        if key in known and "__" not in name:
            yield f"{name}: sets nothing. Did you mean {known[key]}{name.removeprefix(key)}?"


def _suggestion(model: type[BaseModel], variable: str) -> str:
    close = difflib.get_close_matches(variable, list(_variables(model)), n=1, cutoff=0.8)
    return f"Did you mean {close[0]}?" if close else "config.example.toml lists all keys."


def _variables(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the names of the variables of all keys, except for those in lists."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{(field.alias or name).upper()}"
        if prefix:
            yield f"{PREFIX}{path}"
        for kind in _kinds(field.annotation):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _variables(kind, f"{path}__")


def files_in(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the files that the values of options are read from."""
    return tuple(
        path
        for name, path in sorted(environ.items())
        if name.startswith(PREFIX) and "__" in name and name.lower().endswith(FROM_FILE)
    )


def _annotation(model: type[BaseModel], path: list[str]) -> Any:
    """Return the type of the key at `path`, or None if there is no such key."""
    table: type[BaseModel] | None = model
    annotation: Any = None
    for name in path:
        if table is None:
            return None
        field = next((field for key, field in table.model_fields.items() if (field.alias or key) == name), None)
        if field is None:
            return None
        annotation = field.annotation
        table = next(
            (kind for kind in _kinds(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)), None
        )
    return annotation


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the type itself, without pydantic annotations."""
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) in (Literal, tuple) or not get_args(annotation):
        return (annotation,)
    return tuple(kind for member in get_args(annotation) for kind in _kinds(member))


def _parsed(annotation: Any, value: str) -> Any:
    return value if _is_scalar(annotation) else json.loads(value)


def _is_scalar(annotation: Any) -> bool:
    """Return whether the value is plain text instead of JSON. Pydantic converts it to a number if necessary."""
    return all(kind in (str, int, float, bool, NoneType) or get_origin(kind) is Literal for kind in _kinds(annotation))


def _file_text(path: str) -> str:
    """Return the text of a file without its final newline. Errors do not name the path, which may be the secret."""
    try:
        return read_text(Path(path)).rstrip("\n")
    except NotText as error:
        raise ValueError(f"cannot read the file at that path as text: {error}") from None


def _put(raw: dict[str, Any], path: list[str], value: Any) -> None:
    table = raw
    for name in path[:-1]:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ValueError(f"{name} is not a table in the config file.")
    table[path[-1]] = value
