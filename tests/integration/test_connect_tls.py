"""Encrypted connections to a database: what `sslmode` and its options verify. PgBouncer is the TLS server."""

import asyncio
import os
import shutil
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from cryptography.hazmat.primitives import serialization

from sql.connect import CannotConnect
from sql.dsn.dsn import read_dsn
from sql.pool import open_connection
from tests.acceptance.certificates import Authority, Pair
from tests.pooler import PASSWORD, PgBouncer, PooledServer, database_name

SECRET = "hunter2"


class Certificates:
    """Two authorities, and certificates for a server and a client of the first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder, "authority")
        self.other = Authority(folder, "other")
        self.server = self.authority.pair("localhost")
        self.client = self.authority.pair("postgres")


@pytest.fixture(scope="module")
def certificates() -> Iterator[Certificates]:
    """Certificates that PgBouncer's user can read."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Certificates(Path(folder))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PooledServer]:
    """A PostgreSQL server behind the poolers."""
    server = PooledServer(tmp_path_factory.mktemp("tls") / "postgres")
    yield server
    server.close()


@pytest.fixture(scope="module")
def encrypted(server: PooledServer, certificates: Certificates) -> Iterator[PgBouncer]:
    """A server that requires TLS. Its certificate is for `localhost`."""
    pair = certificates.server
    with server.pooler(
        client_tls_sslmode="require", client_tls_cert_file=pair.certificate, client_tls_key_file=pair.key
    ) as pooler:
        yield pooler


def dsn_of(pooler: PgBouncer, **options: object) -> str:
    """Return a DSN for a pooler, in the form `name=value`."""
    given = {"host": "127.0.0.1", "port": pooler.port, "user": "postgres", "password": PASSWORD, "dbname": "postgres"}
    return " ".join(f"{name}='{value}'" for name, value in (given | options).items())


async def answers(dsn: str, environ: dict[str, str] | None = None) -> bool:
    """Connect and run a statement. Raises the errors of `open_connection`."""
    connection = await open_connection(read_dsn(dsn, environ or {}), role="tests")
    try:
        return bool(await connection.fetchval("SELECT true"))
    finally:
        await connection.close()


@pytest.mark.parametrize("mode", ["allow", "prefer", "require", "verify-ca"])
async def test_a_connection_is_encrypted_if_the_server_requires_it(
    encrypted: PgBouncer, certificates: Certificates, mode: str
) -> None:
    root = {"sslrootcert": certificates.authority.file} if mode == "verify-ca" else {}
    assert await answers(dsn_of(encrypted, sslmode=mode, **root))


async def test_a_connection_is_not_encrypted_with_sslmode_disable(encrypted: PgBouncer) -> None:
    with pytest.raises(asyncpg.PostgresError, match="SSL required"):
        await answers(dsn_of(encrypted, sslmode="disable"))


async def test_a_server_without_tls_is_refused_if_tls_is_required(server: PooledServer) -> None:
    with server.pooler() as pooler:
        for mode in ("allow", "prefer"):
            assert await answers(dsn_of(pooler, sslmode=mode))
        with pytest.raises(CannotConnect, match="the server does not accept TLS"):
            await answers(dsn_of(pooler, sslmode="require"))


async def test_verify_full_checks_the_name_of_the_host_and_not_its_address(
    encrypted: PgBouncer, certificates: Certificates
) -> None:
    verified = {"sslmode": "verify-full", "sslrootcert": certificates.authority.file}
    assert await answers(dsn_of(encrypted, host="localhost", hostaddr="127.0.0.1", **verified))
    assert await answers(dsn_of(encrypted, host="localhost", **verified))
    with pytest.raises(CannotConnect, match="certificate is not accepted: IP address mismatch"):
        await answers(dsn_of(encrypted, host="127.0.0.1", **verified))
    with pytest.raises(CannotConnect, match="certificate is not accepted: Hostname mismatch"):
        await answers(dsn_of(encrypted, host="db.example", hostaddr="127.0.0.1", **verified))


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_a_certificate_of_another_authority_is_refused(
    encrypted: PgBouncer, certificates: Certificates, mode: str
) -> None:
    """As in libpq, `require` verifies the authority too if there is a root certificate."""
    for root in (certificates.other.file, *(["system"] if mode == "verify-full" else [])):
        with pytest.raises(CannotConnect, match="the server's certificate is not accepted: "):
            await answers(dsn_of(encrypted, host="localhost", sslmode=mode, sslrootcert=root))


async def test_files_in_the_home_directory_are_used_as_in_libpq(
    encrypted: PgBouncer, certificates: Certificates, tmp_path: Path
) -> None:
    root = tmp_path / ".postgresql" / "root.crt"
    root.parent.mkdir()
    dsn, environ = dsn_of(encrypted, host="localhost", sslmode="verify-full"), {"HOME": str(tmp_path)}
    with pytest.raises(CannotConnect, match="sslmode=verify-full needs the certificate of the authority"):
        await answers(dsn, environ)
    shutil.copyfile(certificates.other.file, root)
    with pytest.raises(CannotConnect, match="the server's certificate is not accepted"):
        await answers(dsn, environ)
    shutil.copyfile(certificates.authority.file, root)
    assert await answers(dsn, environ)
    assert await answers(dsn, {"PGSSLROOTCERT": certificates.authority.file})


@pytest.fixture(scope="module")
def mutual(server: PooledServer, certificates: Certificates) -> Iterator[PgBouncer]:
    """A server that requires a client certificate."""
    pair = certificates.server
    with server.pooler(
        client_tls_sslmode="verify-full",
        client_tls_cert_file=pair.certificate,
        client_tls_key_file=pair.key,
        client_tls_ca_file=certificates.authority.file,
    ) as pooler:
        yield pooler


def with_password(pair: Pair, folder: Path) -> Path:
    """Write the private key again, encrypted with the password SECRET."""
    key = serialization.load_pem_private_key(Path(pair.key).read_bytes(), password=None)
    file = folder / "encrypted.key"
    encryption = serialization.BestAvailableEncryption(SECRET.encode())
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    return file


async def test_a_client_certificate_is_sent_to_a_server_that_requests_one(
    mutual: PgBouncer, certificates: Certificates, tmp_path: Path
) -> None:
    pair = certificates.client
    given = {"sslmode": "require", "sslcert": pair.certificate}
    assert await answers(dsn_of(mutual, **given, sslkey=pair.key))
    encrypted = with_password(pair, tmp_path)
    assert await answers(dsn_of(mutual, **given, sslkey=encrypted, sslpassword=SECRET))
    for without in ({}, {**given, "sslkey": pair.key, "sslcertmode": "disable"}):
        with pytest.raises(CannotConnect):
            await answers(dsn_of(mutual, **{"sslmode": "require", **without}))


async def test_errors_name_the_file_that_cannot_be_loaded(certificates: Certificates, tmp_path: Path) -> None:
    pair, encrypted = certificates.client, with_password(certificates.client, tmp_path)
    empty = tmp_path / "empty"
    empty.touch()
    for options, error in (
        (f"sslrootcert={empty}", rf"^sslrootcert {empty}: it is not a valid PEM file"),
        (f"sslrootcert={tmp_path}/gone", rf"^sslrootcert {tmp_path}/gone: No such file or directory$"),
        (f"sslrootcert={tmp_path}", rf"^sslrootcert {tmp_path}: Is a directory$"),
        (f"sslcert={tmp_path}/gone", rf"^sslcert {tmp_path}/gone: No such file or directory$"),
        (f"sslcert={pair.certificate} sslkey={tmp_path}/gone", rf"^sslkey {tmp_path}/gone: No such file"),
        (
            f"sslcert={pair.certificate} sslkey={empty}",
            rf"^sslcert {pair.certificate} or {empty}: it is not a valid PEM file",
        ),
        (f"sslcert={pair.certificate} sslkey={certificates.server.key}", "or the key or sslpassword does not fit"),
        (
            f"sslcert={pair.certificate} sslkey={encrypted} sslpassword=wrong",
            rf"^sslcert .* or {encrypted}: it is not a",
        ),
        (f"sslcert={pair.certificate} sslkey={encrypted}", rf"^sslcert .* or {encrypted}: it is not a valid PEM file"),
        (f"sslcrl={empty} sslrootcert={certificates.authority.file}", rf"^sslcrl {empty}: it is not a valid PEM file"),
    ):
        with pytest.raises(CannotConnect, match=error):
            await answers(f"host=127.0.0.1 port=1 user=u sslmode=require {options}")


async def test_a_revoked_certificate_is_refused(encrypted: PgBouncer, certificates: Certificates) -> None:
    verified = dsn_of(encrypted, host="localhost", sslmode="verify-full", sslrootcert=certificates.authority.file)
    assert await answers(f"{verified} sslcrl={certificates.authority.revoke()}")
    with pytest.raises(CannotConnect, match="certificate is not accepted: certificate revoked"):
        await answers(f"{verified} sslcrl={certificates.authority.revoke(certificates.server)}")


async def test_a_renewed_certificate_is_used_for_the_next_connection(
    encrypted: PgBouncer, certificates: Certificates, tmp_path: Path
) -> None:
    file = tmp_path / "root.crt"
    dsn = read_dsn(dsn_of(encrypted, sslmode="verify-ca", sslrootcert=file), {})
    shutil.copyfile(certificates.other.file, file)
    with pytest.raises(CannotConnect, match="the server's certificate is not accepted"):
        await open_connection(dsn, role="tests")
    shutil.copyfile(certificates.authority.file, file)
    os.utime(file, (1, 1))  # even if it is older
    await (await open_connection(dsn, role="tests")).close()


async def test_direct_negotiation_begins_with_tls(server: PooledServer, certificates: Certificates) -> None:
    address = parse_qs(urlsplit(server.dsn).query)
    context = certificates.server.server_context()
    context.set_alpn_protocols(["postgresql"])
    protocols = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session: ssl.SSLObject = writer.get_extra_info("ssl_object")
        protocols.append(session.selected_alpn_protocol())
        behind = await asyncio.open_unix_connection(f"{address['host'][0]}/.s.PGSQL.{address['port'][0]}")
        await asyncio.gather(copy(reader, behind[1]), copy(behind[0], writer))

    async with await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context) as front:
        port = front.sockets[0].getsockname()[1]
        options = f"sslmode=verify-full sslrootcert={certificates.authority.file} sslnegotiation=direct"
        name = database_name(server.dsn)
        assert await answers(f"host=localhost hostaddr=127.0.0.1 port={port} user=postgres dbname={name} {options}")
    assert protocols == ["postgresql"]
