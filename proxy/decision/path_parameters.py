"""Refuses parameters in a path, because servers that rewrite paths may move them into the query. No I/O."""

import re
from collections.abc import Iterable

from proxy.decision.parameter_finder import Finder
from proxy.refusals import AMBIGUOUS_REQUEST, Refused

_ENCODED_PARAMETER = AMBIGUOUS_REQUEST.because(
    "The path contains `&`, `;`, `?` or `#`, raw or encoded, with a parameter after it. Some servers, such as those "
    "that rewrite paths, may read this as a query parameter. Send parameters in the query."
)
_PARAMETER = re.compile(rb"[&?#][^&?#/=;!'()*,]++=")  # names of parameters do not contain the other sub-delimiters


def separators_in(text: bytes) -> int:
    """Return the number of `&`, `?`, `#` and `;` in a path, raw or decoded."""
    return sum([text.count(separator) for separator in (b"&", b"?", b"#", b";") if separator in text])


def holds_parameter(text: bytes) -> bool:
    """Return whether a path, raw or decoded, has a `name=value` pair after `&`, `?` or `#`.

    Such a pair becomes a parameter in servers that put paths into queries (Apache's `[QSA]`, nginx's `proxy_pass` with
    variables).
    """
    return _PARAMETER.search(text) is not None


def refuse_parameters(texts: Iterable[bytes], finder: Finder, work: int) -> None:
    """Raise Refused if a path, raw or decoded, contains a parameter, or a name that `finder` looks for.

    `work` is the work that the path takes otherwise.
    """
    read = (0, 0)
    for decoded in texts:
        # Another round of decoding matters only if it reveals separators or equals signs, because the finder decodes
        # the names itself.
        marks = (separators_in(decoded), decoded.count(b"="))
        if not marks[0] or marks == read:
            continue
        read = marks
        if holds_parameter(decoded) or finder.find(finder.split(decoded, work)):
            raise Refused(_ENCODED_PARAMETER)
