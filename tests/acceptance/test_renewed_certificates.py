"""Certificates and authorities whose files change while `serve` runs."""

import asyncio
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from tests.acceptance.certificates import Authority, Pair
from tests.acceptance.harness import Bench, Lanes, Sitelatch, serving
from tests.acceptance.wire import DEADLINE_SECONDS, Answering, Upstream, connect, listening_socket, port_of, until

UPSTREAM = '[[proxy.routes]] "data" upstream_tls'


@dataclass
class Secret:
    """A directory of files as Kubernetes mounts a secret: links through `..data`, which is replaced atomically."""

    folder: Path
    version: int = 0

    def write(self, **files: bytes) -> None:
        self.version += 1
        fresh = self.folder / f"..{self.version}"
        fresh.mkdir()
        for name, content in files.items():
            (fresh / name).write_bytes(content)
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        link = self.folder / "..tmp"
        link.symlink_to(fresh.name)
        link.rename(self.folder / "..data")


@dataclass
class Place:
    """A `serve` process with TLS on both sides, and the files that it reads."""

    bench: Bench
    authority: Authority
    front: Secret
    upstream: Secret
    """The authority of the upstream, and the certificate for the upstream."""
    socket: socket.socket

    @property
    def latch(self) -> Sitelatch:
        return self.bench.latch

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.authority.file)

    async def serial(self) -> int:
        """Return the serial number of the certificate that a new connection gets."""
        async with connect(self.latch.address, self.trust) as client:
            tls: ssl.SSLObject = client.writer.get_extra_info("ssl_object")
            return serial_of(tls.getpeercert(binary_form=True) or b"")

    def events(self, event: str) -> list[str]:
        """Return the `place` of every log line with this event."""
        return [line["place"] for line in self.latch.log_lines() if line["event"] == event]


def contents(authority: Authority, pair: Pair) -> dict[str, bytes]:
    return {
        name: Path(file).read_bytes()
        for name, file in {"ca": authority.file, "crt": pair.certificate, "key": pair.key}.items()
    }


def serial_of(certificate: bytes) -> int:
    return x509.load_der_x509_certificate(certificate).serial_number


def serial_in(file: str) -> int:
    return x509.load_pem_x509_certificate(Path(file).read_bytes()).serial_number


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder, "authority")
    front, upstream = Secret(folder / "front"), Secret(folder / "upstream")
    front.folder.mkdir()
    upstream.folder.mkdir()
    front.write(**contents(authority, authority.pair("localhost")))
    own = authority.pair("sitelatch.client")
    upstream.write(**contents(authority, own))
    with listening_socket() as socket:
        route = {
            "name": "data",
            "upstream": f"https://127.0.0.1:{port_of(socket)}",
            "sites": ["path:/{site}/**"],
            "upstream_tls": {
                "ca": str(upstream.folder / "ca"),
                "certificate": str(upstream.folder / "crt"),
                "key": str(upstream.folder / "key"),
            },
        }
        tls = {"certificate": str(front.folder / "crt"), "key": str(front.folder / "key")}
        with serving(folder, database_url, Lanes(0), routes=[route], proxy={"tls": tls}) as bench:
            yield Place(bench, authority, front, upstream, socket)


@pytest.fixture
async def answering(place: Place) -> AsyncIterator[Answering]:
    """The upstream, with a certificate of the first authority. It requires a certificate of the same authority."""
    answering = Answering()
    tls = place.authority.pair("127.0.0.1").server_context(place.authority.file)
    async with Upstream(place.socket, answering, tls):
        yield answering


async def until_used(place: Place, pair: Pair) -> None:
    """Wait until new connections get this certificate."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await place.serial() != serial_in(pair.certificate):  # noqa: ASYNC110 - the process does not tell
            await asyncio.sleep(0.1)


async def status(place: Place) -> int:
    async with connect(place.latch.address, place.trust) as client:
        key = place.bench.keys.shop.key
        await client.send(f"GET /shop/x HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n\r\n".encode())
        return (await client.answer()).status


async def test_a_renewed_certificate_is_used_without_a_signal_and_open_connections_stay(
    place: Place, answering: Answering
) -> None:
    request = f"GET /shop/x HTTP/1.1\r\nHost: a\r\nX-API-Key: {place.bench.keys.shop.key}\r\n\r\n".encode()
    async with connect(place.latch.address, place.trust) as before:
        await before.send(request)
        assert (await before.answer()).status == 200
        renewed = place.authority.pair("localhost")
        place.front.write(**contents(place.authority, renewed))
        await until_used(place, renewed)
        assert place.events("files_reloaded")[-1] == "[proxy.tls]"
        await before.send(request)
        assert (await before.answer()).status == 200


async def test_files_that_cannot_be_used_leave_the_previous_ones_in_use(place: Place) -> None:
    before = await place.serial()
    renewed = place.authority.pair("localhost")
    files = contents(place.authority, renewed)
    other = contents(place.authority, place.authority.pair("other"))["key"]
    for broken in (other, files["key"][:100], b""):
        count = len(place.events("files_not_reloaded"))
        place.front.write(**{**files, "key": broken})
        place.latch.signal(signal.SIGHUP)
        await until(lambda count=count: len(place.events("files_not_reloaded")) > count, "the failure is logged")  # type: ignore[misc]
        assert await place.serial() == before
    place.front.write(**files)
    place.latch.signal(signal.SIGHUP)
    await until_used(place, renewed)


async def test_a_new_authority_and_client_certificate_for_the_upstream_are_used(place: Place) -> None:
    other = Authority(place.upstream.folder, "other authority")
    tls = other.pair("127.0.0.1").server_context(other.file)
    own = other.pair("sitelatch.client")
    answering = Answering()
    async with Upstream(place.socket, answering, tls):
        assert await status(place) == 502
        place.upstream.write(**contents(other, own))
        before = place.events("files_reloaded").count(UPSTREAM)
        place.latch.signal(signal.SIGHUP)
        await until(lambda: place.events("files_reloaded").count(UPSTREAM) > before, "the files are read")
        assert await status(place) == 200
