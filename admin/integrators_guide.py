"""The integrators' guide: docs/integrators.md adapted to this installation, as a page and as text.

The document describes an installation with the defaults. For other installations, the passages that differ are
replaced. The guide requires an admin's credentials: admins pass it on to developers.
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
from admin.page import HEADERS
from admin.static_files import html
from proxy.decision.key_locations import key_location
from proxy.decision.site_rules import site_rule
from proxy.settings import ProxySettings, RouteSettings

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
    """Return the passages that depend on the installation. A passage precedes the passages that it contains."""
    example = example_request(proxy, keys_from)
    fields = [tuple(header.split(": ", 1)) for header in example.headers]
    python = ", ".join(f"{json.dumps(name)}: {_python(value)}" for name, value in fields)
    script = ", ".join(f"{json.dumps(name)}: {_script(value)}" for name, value in fields)
    imports = "from base64 import b64encode\n\n" if any("{basic}" in value for _, value in fields) else ""
    return [
        " ".join([*map(_shell_header, example.headers), _shell(example.url)]),
        f"{imports}URL = {_python(example.url)}\nHEADERS = {{{python}}}",
        f"const url = {_script(example.url)};\nconst headers = {{{f' {script} ' if script else ''}}};",
        ", or ".join(key_location(text).describe() for text in proxy.routes[0].keys_from or keys_from),
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


def _site_rules(routes: Sequence[RouteSettings]) -> list[str]:
    """Return the list items that say where requests name their sites."""
    lines = []
    for route in routes:
        where = f"under `{route.path}` " if len(routes) > 1 else ""
        lines += [f"- {where}{site_rule(rule).describe()}" for rule in route.sites]
        if not route.sites:
            lines.append(f"- {where}nowhere: requests do not name a site")
    return lines


def guide_routes(text: str) -> list[tuple[str, str, Handler]]:
    """Return the routes of the guide, which need credentials."""
    rendered = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    # Makes wide code blocks scrollable with the keyboard.
    rendered = rendered.replace("<pre>", '<pre tabindex="0">')
    page = html("integrators.html").replace("<!-- guide -->", rendered)

    async def as_page(_: web.Request) -> web.StreamResponse:
        return web.Response(text=page, content_type="text/html", headers=HEADERS)

    async def as_text(_: web.Request) -> web.StreamResponse:
        headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{_NAME}"'}
        return web.Response(text=text, content_type="text/markdown", headers=headers)

    return [("GET", "/integrators", as_page), ("GET", f"/{_NAME}", as_text)]
