"""An example request to this installation, which the page shows beside a new key. No I/O."""

from collections.abc import Sequence

from admin.api.response_models import ExampleRequest
from proxy.decision.key_locations import key_location
from proxy.decision.path_patterns import SiteExample, example_target
from proxy.decision.site_rules import site_rule
from proxy.settings import ProxySettings

UNKNOWN_ADDRESS = "https://DATA-API"


def example_request(proxy: ProxySettings, keys_from: Sequence[str]) -> ExampleRequest:
    """Return a request to the first route, with its first site rule and its first key location."""
    route = proxy.routes[0]
    root = route.path if route.path.endswith("/") else f"{route.path}/"
    site = site_rule(route.sites[0]).example(root) if route.sites else SiteExample(root)
    key = key_location((route.keys_from or tuple(keys_from))[0]).example()
    url = address(proxy).rstrip("/") + site.target
    if key.parameter is not None:
        name, value = key.parameter
        url += f"{'&' if '?' in url else '?'}{example_target(name)}={value}"
    headers = [f"{name}: {value}" for name, value in filter(None, (key.header, site.header))]
    return ExampleRequest(url=url, headers=headers)


def address(proxy: ProxySettings) -> str:
    """Return the URL of the front door: the configured public URL, or else the listen address."""
    if proxy.public_url is not None:
        return proxy.public_url
    if proxy.listen.startswith(("unix:", "*:")):
        return UNKNOWN_ADDRESS
    return f"{'http' if proxy.tls is None else 'https'}://{proxy.listen}"
