"""TLS contexts for database connections. The files are those that libpq would read."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from sql.dsn.tls_options import SYSTEM, TlsOptions

_VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
_VERIFYING = ("verify-ca", "verify-full")


class UnusableTlsFile(Exception):  # noqa: N818 - names what happened
    """A certificate, key or revocation list cannot be loaded. The message names the option and the file."""


class _Files(NamedTuple):
    """The paths of the files to load. An empty string means that a file is not used."""

    root: str
    certificate: str
    key: str
    revoked: str
    revoked_directory: str


class _HostContext(ssl.SSLContext):
    """A context for one host. It verifies the host's name even if the connection was opened to an address."""

    server_name = ""

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        """Begin TLS for the event loop, but always with the name of the host."""
        return super().wrap_bio(*arguments, **{**named, "server_hostname": self.server_name})


def tls_context(options: TlsOptions, server_name: str) -> ssl.SSLContext:
    """Return the context for connections to a host. Raises UnusableTlsFile. Files that changed are read again."""
    files = _files(options)
    stamps = []
    for option, path in zip(("sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir"), files, strict=True):
        for each in _system_paths() if path == SYSTEM else filter(None, [path]):
            try:
                status = Path(each).stat()
            except (OSError, ValueError) as error:
                raise UnusableTlsFile(f"{option} {each}: {_reason(error)}") from None
            stamps.append((status.st_ctime_ns, status.st_ino, status.st_size))
    return _build(options, files, server_name.rstrip("."), tuple(stamps))


def _system_paths() -> list[str]:
    """Return the file and the directory with the authorities that the operating system trusts."""
    paths = ssl.get_default_verify_paths()
    return [path for path in (paths.cafile, paths.capath) if path is not None]


def _files(options: TlsOptions) -> _Files:
    root = options.root or _default(options, "root.crt")
    certificate = key = ""
    if not options.no_certificate:
        certificate = options.certificate or _default(options, "postgresql.crt")
    if certificate:
        key = options.key or _default(options, "postgresql.key")
    verifies = root and root != SYSTEM
    revoked = (options.revoked or _default(options, "root.crl")) if verifies else options.revoked
    return _Files(root, certificate, key, revoked, options.revoked_directory)


def _default(options: TlsOptions, name: str) -> str:
    """Return the path of a file in `~/.postgresql`, or "" if it is not there or the directory is not accessible."""
    if options.directory is None:
        return ""
    file = options.directory / name
    try:
        file.stat()
    except (OSError, ValueError):
        return ""
    return str(file)


@lru_cache(maxsize=16)
def _build(options: TlsOptions, files: _Files, server_name: str, _: tuple[tuple[int, int, int], ...]) -> ssl.SSLContext:
    context = _HostContext(ssl.PROTOCOL_TLS_CLIENT)
    context.server_name = server_name
    context.check_hostname = options.mode == "verify-full"
    if options.mode in _VERIFYING and not files.root:
        raise UnusableTlsFile(
            f"sslmode={options.mode} needs the certificate of the authority. Set sslrootcert to its file, or to "
            "system for the authorities that the operating system trusts"
        )
    # As in libpq, a certificate of an authority turns verification on in every mode.
    context.verify_mode = ssl.CERT_REQUIRED if files.root else ssl.CERT_NONE
    if files.root == SYSTEM:
        if not _system_paths():
            raise UnusableTlsFile("sslrootcert=system: the operating system has no certificates of authorities")
        context.load_default_certs()
    elif files.root:
        with _naming("sslrootcert", files.root):
            context.load_verify_locations(cafile=files.root)
    if files.revoked:
        with _naming("sslcrl", files.revoked):
            context.load_verify_locations(cafile=files.revoked)
    if files.revoked_directory:
        with _naming("sslcrldir", files.revoked_directory):
            context.load_verify_locations(capath=files.revoked_directory)
    if files.revoked or files.revoked_directory:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    if files.certificate:
        with _naming("sslcert", " or ".join(filter(None, (files.certificate, files.key)))):
            # Without a password, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(files.certificate, files.key or None, password=lambda: options.key_password)
    if options.minimum_version:
        context.minimum_version = _VERSIONS[options.minimum_version]
    if options.maximum_version:
        context.maximum_version = _VERSIONS[options.maximum_version]
    context.set_alpn_protocols(["postgresql"])
    return context


@contextmanager
def _naming(option: str, path: str) -> Iterator[None]:
    """Name the option and the file in the error of a file that cannot be loaded."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = _reason(error, "or the key or sslpassword does not fit" if option == "sslcert" else "")
        raise UnusableTlsFile(f"{option} {path}: {reason}") from None


def _reason(error: Exception, also: str = "") -> str:
    if isinstance(error, ssl.SSLError):
        return f"it is not a valid PEM file{', ' if also else ''}{also} ({error.reason or 'TLS error'})"
    return error.strerror if isinstance(error, OSError) and error.strerror else "it is not a valid path"
