"""The integrators' guide: docs/integrators.md adapted to this installation, as a page and as text.

The document describes an installation with the defaults. For another one, only the passages that differ are replaced.
Admins pass the guide on to developers, so that it needs an admin's credentials.
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from markdown_it import MarkdownIt

from admin.api.example_request import address, example_request
from admin.page import HEADERS, static_text
from proxy.settings import HeaderRule, ProxySettings, QueryRule, RouteSettings

_NAME: Final = "integrators.md"
_HERE: Final = Path(__file__).parent
# In a wheel the document is next to this file.
_FILE: Final = next(file for file in (_HERE / _NAME, _HERE.parent / "docs" / _NAME) if file.is_file())
SITE: Final = "shop"
DEFAULT: Final = ProxySettings(
    public_url="https://data.example",
    routes=(
        RouteSettings(
            name="data",
            upstream="http://127.0.0.1:9000",
            sites=("path:/api/sites/{site}/**", "query:site", "header:X-Site"),
        ),
    ),
)
DEFAULT_KEYS: Final = ("header:X-API-Key", "bearer")


def guide(proxy: ProxySettings, keys_from: Sequence[str]) -> str:
    """Return the guide for this installation as Markdown."""
    replacements = dict(zip(passages(DEFAULT, DEFAULT_KEYS), passages(proxy, keys_from), strict=True))
    # All at once, because a replacement may contain the text of another default passage.
    return re.sub(
        "|".join(map(re.escape, replacements)), lambda found: replacements[found[0]], _FILE.read_text(encoding="utf-8")
    )


def passages(proxy: ProxySettings, keys_from: Sequence[str]) -> list[str]:
    """Return the passages about an installation. Each comes before the passages that it contains."""
    example = example_request(proxy, keys_from)
    fields = [tuple(header.split(": ", 1)) for header in example.headers]
    python = ", ".join(f"{json.dumps(name)}: {_python(value)}" for name, value in fields)
    script = ", ".join(f"{json.dumps(name)}: {_script(value)}" for name, value in fields)
    imports = "from base64 import b64encode\n\n" if any("{basic}" in value for _, value in fields) else ""
    return [
        " ".join([*map(_shell_header, example.headers), _shell(example.url)]),
        f"{imports}URL = {_python(example.url)}\nHEADERS = {{{python}}}",
        f"const url = {_script(example.url)};\nconst headers = {{{f' {script} ' if script else ''}}};",
        ", or ".join(map(_key_location, proxy.routes[0].keys_from or keys_from)),
        "\n".join(_site_rules(proxy.routes)),
        address(proxy).rstrip("/"),
    ]


def _filled(template: str, key: str, basic: str, escape: Callable[[str], str]) -> str:
    """Fill in a template of the example request, as the content of a string in some language."""
    pieces = re.split(r"(\{key\}|\{basic\})", template.replace("{site}", SITE))
    return "".join({"{key}": key, "{basic}": basic}.get(piece) or escape(piece) for piece in pieces)


def _shell(template: str) -> str:
    return '"' + _filled(template, "$API_KEY", "", lambda text: re.sub(r'([$`"\\])', r"\\\1", text)) + '"'


def _shell_header(template: str) -> str:
    return '-u "$API_KEY:"' if "{basic}" in template else f"-H {_shell(template)}"


def _python(template: str) -> str:
    if template == "{key}":
        return "KEY"
    if "{key}" not in template and "{basic}" not in template:
        return json.dumps(template.replace("{site}", SITE))

    def escape(text: str) -> str:
        return json.dumps(text)[1:-1].replace("{", "{{").replace("}", "}}")

    filled = _filled(template, "{KEY}", "{b64encode(f'{KEY}:'.encode()).decode()}", escape)
    return f'f"{filled}"'


def _script(template: str) -> str:
    if template == "{key}":
        return "key"
    if "{key}" not in template and "{basic}" not in template:
        return json.dumps(template.replace("{site}", SITE))
    filled = _filled(template, "${key}", "${btoa(`${key}:`)}", lambda text: re.sub(r"([`$\\])", r"\\\1", text))
    return f"`{filled}`"


def _key_location(location: str) -> str:
    kind, _, name = location.partition(":")
    match kind:
        case "header":
            return f"as the header `{name}`"
        case "query":
            return f"as the query parameter `{name}`"
        case "cookie":
            return f"as the cookie `{name}`"
        case "basic":
            return "as the user name of HTTP Basic, with an empty password"
        case _:
            return "as `Authorization: Bearer KEY`"


def _site_rules(routes: Sequence[RouteSettings]) -> list[str]:
    """Return the list items that say where requests name their sites."""
    lines = []
    for route in routes:
        where = f"under `{route.path}` " if len(routes) > 1 else ""
        lines += [f"- {where}{_site_rule(rule)}" for rule in route.sites]
        if not route.sites:
            lines.append(f"- {where}nowhere: requests do not name a site")
    return lines


def _site_rule(rule: str | QueryRule | HeaderRule) -> str:
    if isinstance(rule, str):
        kind, _, rest = rule.partition(":")
        rest = rest.replace("{site}", "SITE").replace("**", "…")
        match kind:
            case "path":
                return f"in the path: `{rest}`"
            case "query":
                return f"as the query parameter `{rest}`"
            case "header":
                return f"in the header `{rest}`"
            case _:
                return f"in the host name: `{rest}`"
    where = (
        f"as the query parameter `{rule.query}`" if isinstance(rule, QueryRule) else f"in the header `{rule.header}`"
    )
    if rule.forms != ("{site}",):
        where += f", written {' or '.join(_code(form.replace('{site}', 'SITE')) for form in rule.forms)}"
    if rule.separator is not None:
        where += f", several separated by `{rule.separator}`"
    if rule.all is not None:
        where += f", or `{rule.all}` for all sites"
    if rule.paths is not None:
        where += f", on {', '.join(map(_code, rule.paths)).replace('**', '…')}"
    return where


def _code(text: str) -> str:
    return f"`{text}`"


def guide_routes(text: str) -> list[tuple[str, str, Handler]]:
    """Return the routes of the guide, which need credentials."""
    rendered = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    # Makes wide code blocks scrollable with the keyboard.
    rendered = rendered.replace("<pre>", '<pre tabindex="0">')
    page = static_text("integrators.html").replace("<!-- guide -->", rendered)

    async def as_page(_: web.Request) -> web.StreamResponse:
        return web.Response(text=page, content_type="text/html", headers=HEADERS)

    async def as_text(_: web.Request) -> web.StreamResponse:
        headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{_NAME}"'}
        return web.Response(text=text, content_type="text/markdown", headers=headers)

    return [("GET", "/integrators", as_page), ("GET", f"/{_NAME}", as_text)]
