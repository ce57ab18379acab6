"""Refuses form bodies, and charsets that change how a backend decodes the query. No I/O."""

import re

from proxy.decision.path_facts import PathFacts
from proxy.http.headers import FOLDED, Fields
from proxy.refusals import AMBIGUOUS_REQUEST, FORM_BODY_NOT_READ, Refused

_CHARSETS = re.compile(rb"charset[*0-9 \t]*+=")
# Charsets that extend ASCII, so that names and separators have the same bytes.
_CHARSET = re.compile(
    rb"charset=[\"']?(?:utf-?8(?:-sig)?|(?:us-)?ascii|binary|latin-?1|iso[-_]8859-[0-9]{1,2}|(?:windows-|cp)125[0-9]|"
    rb"koi8-[ru]|macintosh|euc-(?:jp|kr|tw)|gb2312|unknown-8bit|utf8mb[34]|)[\"']?(?=[;, \t]|\Z)"
)
# The second byte of a character may be an ASCII letter, but not one of `%&+;=?#`. So these charsets do not change how a
# query in ASCII is read.
_TWO_BYTE_CHARSET = re.compile(
    rb"charset=[\"']?(?:(?:x-)?s(?:hift[_-]?)?jis|windows-31j|(?:ms|cp)932|gbk|gb18030|(?:cp|ms)936|big5(?:-hkscs)?|cp950|"
    rb"(?:cp|ms)949|uhc|ks_c_5601-1987|tis-620)[\"']?(?=[;, \t]|\Z)"
)
HARMLESS_TYPES = frozenset(
    value + charset
    for value in (b"application/json", b"text/plain", b"application/octet-stream")
    for charset in (b"", b"; charset=utf-8", b";charset=utf-8", b"; charset=UTF-8", b";charset=UTF-8")
)
"""Values of Content-Type that neither declare a form nor change how a query is decoded."""
_LONGEST_CONTENT_TYPE = 1024
_OTHER_CHARSET = AMBIGUOUS_REQUEST.because(
    "Some servers decode the query in the `charset` of the Content-Type header. Send UTF-8, or leave `charset` out."
)


def refuse_charset(fields: Fields, raw_query: bytes) -> None:
    """Raise Refused if the charset gives the bytes of a query a different meaning, as UTF-7 and EBCDIC do.

    Django and ASP.NET decode the query in the charset of the body, even if there is no body.
    """
    for name, value in fields:
        if FOLDED[name] == b"content-type":
            lower = value.lower()
            if b"charset" not in lower:
                continue
            if len(lower) > _LONGEST_CONTENT_TYPE:
                raise Refused(_OTHER_CHARSET)
            known = len(_CHARSET.findall(lower))
            if raw_query.isascii():
                known += len(_TWO_BYTE_CHARSET.findall(lower))
            if len(_CHARSETS.findall(lower)) != known:
                raise Refused(_OTHER_CHARSET)


_NO_CONTENT_TYPE = FORM_BODY_NOT_READ.because(
    "A body without a Content-Type is not accepted here, because some servers read it as a form. Send its Content-Type."
)
_FORM_METHODS = frozenset({b"POST", b"PUT", b"PATCH"})
"""For these methods, Perl's CGI.pm reads a body without a Content-Type as a form. Rack does so only for POST.

S3 clients and `curl -T` send PUT without a Content-Type, so only `form_body = "refuse"` refuses such a PUT."""


def refuse_form_body(method: bytes, fields: Fields, form_body: str) -> None:
    """Raise Refused if a backend may merge the body with the query, because some backend parses it as a form."""
    # A look-alike of Content-Type can declare a form, but only the exact name can declare another type.
    is_present = False
    for name, value in fields:
        if FOLDED[name] == b"content-type":
            lower = value.lower()
            # Python's `multipart` package, and so Bottle and Zope, also parse `application/x-url-encoded`.
            if b"encoded" in lower or b"multipart/" in lower:
                raise Refused(FORM_BODY_NOT_READ)
            is_present = is_present or (value != b"" and name.lower() == b"content-type")
    if not is_present and (method == b"POST" or (form_body == "refuse" and method in _FORM_METHODS)):
        raise Refused(_NO_CONTENT_TYPE)


def form_may_name(facts: PathFacts) -> bool:
    """Return whether a form body may name a site, or a parameter or method that `refuse` lists.

    The `paths` of a query rule make no difference: in Spring, ASP.NET Core and other frameworks, a field called `site`
    replaces the `site` in the path.
    """
    route = facts.route
    if route.settings.form_body != "auto":
        return route.settings.form_body == "refuse"
    return bool(route.site_rules.queries or route.refused_names or facts.refused)
