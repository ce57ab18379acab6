"""An example request to this installation, which the page shows beside a new key. No I/O."""

from collections.abc import Sequence
from urllib.parse import quote

from admin.api.response_models import ExampleRequest
from proxy.settings import ProxySettings, RouteSettings

UNKNOWN_ADDRESS = "https://DATA-API"


def example_request(proxy: ProxySettings, keys_from: Sequence[str]) -> ExampleRequest:
    """Return a request to the first route, with its first site rule and its first key location."""
    route = proxy.routes[0]
    target, headers = _named_site(route)
    url = address(proxy).rstrip("/") + target
    kind, _, name = (route.keys_from or tuple(keys_from))[0].partition(":")
    match kind:
        case "header":
            headers = (f"{name}: {{key}}", *headers)
        case "query":
            url += f"{'&' if '?' in url else '?'}{_encoded(name)}={{key}}"
        case "cookie":
            headers = (f"Cookie: {name}={{key}}", *headers)
        case "basic":
            headers = ("Authorization: Basic {basic}", *headers)
        case _:
            headers = ("Authorization: Bearer {key}", *headers)
    return ExampleRequest(url=url, headers=list(headers))


def address(proxy: ProxySettings) -> str:
    """Return the URL of the front door: the configured public URL, or else the listen address."""
    if proxy.public_url is not None:
        return proxy.public_url
    if proxy.listen.startswith("unix:"):
        return UNKNOWN_ADDRESS
    return f"{'http' if proxy.tls is None else 'https'}://{proxy.listen}"


def _named_site(route: RouteSettings) -> tuple[str, tuple[str, ...]]:
    """Return the target and the headers that name `{site}` for the route's first site rule."""
    root = route.path if route.path.endswith("/") else f"{route.path}/"
    for rule in route.sites:
        if isinstance(rule, str):
            kind, _, rest = rule.partition(":")
        elif (query := getattr(rule, "query", None)) is not None:
            kind, rest = "query", query
        else:
            kind, rest = "header", getattr(rule, "header", "")
        template = "{site}" if isinstance(rule, str) else rule.forms[0]
        if not isinstance(rule, str) and rule.paths is not None:
            root = rule.paths[0].removesuffix("**")
        match kind:
            case "path":
                return rest.replace("**", "").replace("*", "x"), ()
            case "query":
                return f"{root}?{_encoded(rest)}={_encoded(template)}", ()
            case "header":
                return root, (f"{rest}: {template}",)
            case "host":
                return root, (f"Host: {rest}",)
    return root, ()


def _encoded(text: str) -> str:
    """Percent-encode `text`, but not its placeholders. Brackets are encoded because curl reads them as ranges."""
    return quote(text, safe="{}")
