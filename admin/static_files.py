"""The static files of the page, at URLs that contain a hash of the content, so that browsers cache them for ever.

Files refer to each other by plain names, such as `static/page.css` and `./api.js`. These are replaced by the hashed
names when the files are read. So the hash of a module also depends on the modules that it imports.
"""

import gzip
import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final

_FOLDER: Final = Path(__file__).parent / "static"
_TYPES: Final = MappingProxyType(
    {
        ".html": "text/html",
        ".css": "text/css",
        ".js": "text/javascript",
        ".svg": "image/svg+xml",
        ".csv": "text/csv",
    }
)
_SOURCES: Final = MappingProxyType(
    {file.name: file.read_text("utf-8") for file in _FOLDER.iterdir() if file.suffix in _TYPES}
)
_REFERENCE: Final = re.compile(r'(?<=["\'])((?:static|\.)/)(\w+\.\w+)(?=["\'])')
_URL_NAME: Final = re.compile(r"(\w+)(?:\.([0-9a-f]{16}))?(\.\w+)")


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file as it is sent. `version` is the hash in its URL."""

    content: bytes
    compressed: bytes
    content_type: str
    version: str


@cache
def static_file(name: str) -> StaticFile:
    """Return a file by its plain name. Raises KeyError if there is none."""
    content = _with_hashed_names(_SOURCES[name]).encode()
    compressed = gzip.compress(content, mtime=0)
    return StaticFile(content, compressed, _TYPES[Path(name).suffix], sha256(content).hexdigest()[:16])


def html(name: str) -> str:
    """Return the text of an HTML file, which refers to the other files by their hashed names."""
    return static_file(name).content.decode()


def find_static_file(url_name: str) -> tuple[StaticFile, bool] | None:
    """Return the file at a URL, and whether the URL's hash is that of its content.

    During an upgrade, the page of one version may refer to files that only another version has. Then the file of this
    version is better than none.
    """
    found = _URL_NAME.fullmatch(url_name)
    if found is None or found[1] + found[3] not in _SOURCES or found[3] == ".html":
        return None
    file = static_file(found[1] + found[3])
    return file, found[2] == file.version


def _with_hashed_names(text: str) -> str:
    return _REFERENCE.sub(lambda found: found[1] + _hashed_name(found[2]), text)


def _hashed_name(name: str) -> str:
    return f"{Path(name).stem}.{static_file(name).version}{Path(name).suffix}"
