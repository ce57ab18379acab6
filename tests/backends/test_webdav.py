"""With a real WebDAV server, a key for one site cannot copy to or from another site."""

import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from proxy.settings import RouteSettings
from tests.backends.client import Client, NoResponse
from tests.backends.debian import own_webdav, start_webdav
from tests.backends.door import Door
from tests.backends.place import Place
from tests.backends.request import KEY_MARK, Request
from tests.backends.rulesets import KEY

pytestmark = [pytest.mark.backends, pytest.mark.slow]

SECRET = "the secret of blog"
METHODS = ("GET", "PUT", "DELETE", "OPTIONS", "COPY", "MOVE", "PROPFIND", "MKCOL", "LOCK", "PROPPATCH", "POST")

TARGETS = (b"/sites/shop/a.txt", b"/sites/shop/", b"/sites/shop/new.txt")
DESTINATION_NAMES = (b"Destination", b"destination", b"DESTINATION", b"Destination_", b"X-Destination", b"Destination ")
DESTINATIONS = (
    b"http://localhost:PORT/sites/blog/secret.txt",
    b"/sites/blog/secret.txt",
    b"http://localhost:PORT/sites/shop/../blog/secret.txt",
    b"http://localhost:PORT/sites/%62log/secret.txt",
    b"//localhost:PORT/sites/blog/secret.txt",
)
MORE = (
    (),
    ((b"Overwrite", b"T"),),
    ((b"Connection", b"Destination"),),
    ((b"If", b"<http://localhost:PORT/sites/blog/secret.txt> (Not <DAV:no-lock>)"),),
    ((b"Destination", b"http://localhost:PORT/sites/shop/b.txt"),),
    ((b"X-HTTP-Method-Override", b"COPY"),),
)


def _restore(files: Path) -> None:
    """Restore the file of each site."""
    for site, name, text in (("shop", "a.txt", "ordinary"), ("blog", "secret.txt", SECRET)):
        folder = files / "sites" / site
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / name).write_text(text)
    own_webdav(files)


@pytest.fixture
def files(place: Place) -> Path:
    """The files of a running server, one for each site."""
    folder = place.folder / "files"
    _restore(folder)
    start_webdav(place)
    place.wait()
    return folder


@pytest.fixture
async def door(request: pytest.FixtureRequest) -> AsyncIterator[Door]:
    """A front door whose route forwards the methods in `request.param`."""
    route = RouteSettings(
        name="files", upstream="http://127.0.0.1:9", sites=("path:/sites/{site}/**",), methods=request.param
    )
    opened = Door(route, ("header:X-API-Key",), KEY, ("shop",), trusted=False)
    await opened.warm()
    yield opened
    await opened.close()


def _requests(port: int) -> Iterator[Request]:
    for method, target, name, destination, more in itertools.product(
        METHODS, TARGETS, DESTINATION_NAMES, DESTINATIONS, MORE
    ):
        fields = ((b"Host", b"localhost:PORT"), (b"X-API-Key", KEY_MARK), (name, destination), *more)
        body = b"new" if method == "PUT" else b""
        filled = tuple((name, value.replace(b"PORT", b"%d" % port)) for name, value in fields)
        yield Request("webdav", method.encode(), target, fields=filled, body=body)


def _is_intact(files: Path) -> bool:
    """Return whether the file of blog is unchanged, and no file of shop contains its text."""
    secret = files / "sites" / "blog" / "secret.txt"
    copies = [path for path in (files / "sites" / "shop").rglob("*") if path.is_file() and SECRET in path.read_text()]
    return secret.is_file() and secret.read_text() == SECRET and not copies


def test_without_sitelatch_a_client_can_overwrite_the_file_of_another_site(place: Place, files: Path) -> None:
    client = Client(place.port)
    head = (
        f"COPY /sites/shop/a.txt HTTP/1.1\r\nHost: localhost:{place.port}\r\n"
        f"Destination: http://localhost:{place.port}/sites/blog/secret.txt\r\n\r\n"
    )
    assert client.send(head.encode(), b"").status == 204
    client.close()
    assert not _is_intact(files)


@pytest.mark.parametrize(
    "door", [RouteSettings.model_fields["methods"].default, METHODS], ids=["default", "listed"], indirect=True
)
async def test_no_method_reaches_the_file_of_another_site(place: Place, files: Path, door: Door) -> None:
    client = Client(place.port)
    passed = 0
    for request in _requests(place.port):
        sent = door.send(request.raw(KEY.encode()))
        if not sent.passed:
            continue
        passed += 1
        _restore(files)
        try:
            client.send(sent.head, sent.body, may_reuse=sent.may_reuse)
        except NoResponse:
            continue
        assert _is_intact(files), request.shown()
    client.close()
    assert passed > 50


@pytest.mark.parametrize("door", [METHODS], ids=["listed"], indirect=True)
async def test_listed_methods_work_within_the_allowed_site(place: Place, files: Path, door: Door) -> None:
    fields = ((b"Host", b"localhost"), (b"X-API-Key", KEY_MARK), (b"Depth", b"1"))
    sent = door.send(Request("webdav", b"PROPFIND", b"/sites/shop/", fields=fields).raw(KEY.encode()))
    client = Client(place.port)
    assert client.send(sent.head, sent.body).status == 207
    client.close()
