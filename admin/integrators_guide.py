"""The guide for those who call: docs/integrators.md, with this installation's address and ways, as a page and as text.

It is for admins to hand out, so they must be signed in to get it. Its examples stand in it as they are where everything
is as by default; elsewhere just these passages are replaced.
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
from proxy.decision.key_locations import key_location
from proxy.decision.site_rules import site_rule
from proxy.settings import ProxySettings, RouteSettings

_NAME: Final = "integrators.md"
_HERE: Final = Path(__file__).parent
# In the wheel it lies beside this file.
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
    """Return the guide as Markdown, for this installation."""
    ours = dict(zip(passages(DEFAULT, DEFAULT_KEYS), passages(proxy, keys_from), strict=True))
    # All at once: what is put in may look like a default itself.
    return re.sub("|".join(map(re.escape, ours)), lambda found: ours[found[0]], _FILE.read_text(encoding="utf-8"))


def passages(proxy: ProxySettings, keys_from: Sequence[str]) -> list[str]:
    """Return what the guide says of an installation, each passage before those that are a part of it."""
    asked = example_request(proxy, keys_from)
    fields = [tuple(header.split(": ", 1)) for header in asked.headers]
    python = ", ".join(f"{json.dumps(name)}: {_python(value)}" for name, value in fields)
    script = ", ".join(f"{json.dumps(name)}: {_script(value)}" for name, value in fields)
    imports = "from base64 import b64encode\n\n" if any("{basic}" in value for _, value in fields) else ""
    return [
        " ".join([*map(_shell_header, asked.headers), _shell(asked.url)]),
        f"{imports}URL = {_python(asked.url)}\nHEADERS = {{{python}}}",
        f"const url = {_script(asked.url)};\nconst headers = {{{f' {script} ' if script else ''}}};",
        ", or ".join(key_location(text).describe() for text in proxy.routes[0].keys_from or keys_from),
        "\n".join(_site_places(proxy.routes)),
        address(proxy).rstrip("/"),
    ]


def _filled(template: str, key: str, basic: str, escape: Callable[[str], str]) -> str:
    """Return a template of `try_it` as the inside of some language's string."""
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


def _site_places(routes: Sequence[RouteSettings]) -> list[str]:
    """Return where requests name their sites, as items of a list."""
    lines = []
    for route in routes:
        where = f"under `{route.path}` " if len(routes) > 1 else ""
        lines += [f"- {where}{site_rule(rule).describe()}" for rule in route.sites]
        if not route.sites:
            lines.append(f"- {where}nowhere: requests name no site")
    return lines


def guide_routes(text: str) -> list[tuple[str, str, Handler]]:
    """Return the routes of the guide, for who is signed in."""
    rendered = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    # What scrolls sideways must do so by keyboard, too.
    rendered = rendered.replace("<pre>", '<pre tabindex="0">')
    page = static_text("integrators.html").replace("<!-- guide -->", rendered)

    async def as_page(_: web.Request) -> web.StreamResponse:
        return web.Response(text=page, content_type="text/html", headers=HEADERS)

    async def as_text(_: web.Request) -> web.StreamResponse:
        headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{_NAME}"'}
        return web.Response(text=text, content_type="text/markdown", headers=headers)

    return [("GET", "/integrators", as_page), ("GET", f"/{_NAME}", as_text)]
