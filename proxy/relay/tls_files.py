"""TLS contexts from PEM files, which are read again when they change."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from proxy.settings import TlsListenSettings, UpstreamTlsSettings
from sql.text_files import NotText, read_text

_ALPN = ["http/1.1"]


class EncryptedKey(OSError):  # noqa: N818 - names what happened
    """A private key needs a password. Without this error, OpenSSL would ask for it on the terminal, and wait."""

    def __init__(self) -> None:
        super().__init__(0, "the private key is encrypted; Sitelatch reads unencrypted keys only")


class NotPem(OSError):  # noqa: N818 - named after the problem
    """A file is not in PEM format, or cannot be read. OpenSSL says only "PEM lib", and does not name the file."""

    def __init__(self, file: str, fault: str) -> None:
        super().__init__(0, f"{file}: {fault}")


class MismatchedKey(OSError):  # noqa: N818 - named after the problem
    """A private key does not match its certificate. OpenSSL names neither file."""

    def __init__(self, certificate: str, key: str) -> None:
        super().__init__(
            0,
            f"the private key {key} belongs to another certificate than {certificate}, whose first certificate must be "
            "the server's or client's own",
        )


@dataclass(frozen=True, slots=True)
class WatchedFiles:
    """Files that are read together, and how to read them again."""

    place: str
    """The table of the config that names the files."""
    files: tuple[str, ...]
    load: Callable[[], Callable[[], None]]
    """Read the files, in any thread. Returns the function that puts them into use. Raises OSError and ValueError."""


class ServerTls:
    """The TLS of the front door. New connections use the certificate that was loaded last."""

    def __init__(self, settings: TlsListenSettings) -> None:
        """Raises OSError if a file cannot be used."""
        self._settings = settings
        self._current = server_context(settings)
        self.context = server_context(settings)
        """The context to listen with."""
        self.context.sni_callback = self._use_current

    @property
    def watched(self) -> WatchedFiles:
        """The certificate and its key."""
        return WatchedFiles("[proxy.tls]", (self._settings.certificate, self._settings.key), self._load)

    def _load(self) -> Callable[[], None]:
        context = server_context(self._settings)

        def use() -> None:
            self._current = context

        return use

    def _use_current(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Set the context of a connection. OpenSSL calls this in each handshake, even if the client names no server.

        Loading new files into a context in use would not work: for a moment, its certificate would not match its key.
        """
        connection.context = self._current


def server_context(tls: TlsListenSettings) -> ssl.SSLContext:
    """Return the TLS context of the front door. Raises OSError if a file cannot be used."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(_ALPN)
    _load_pair(context, tls.certificate, tls.key)
    return context


def client_context(tls: UpstreamTlsSettings | None) -> ssl.SSLContext:
    """Return the TLS context for an upstream. Raises OSError if a file cannot be used."""
    ca = tls.ca if tls else None
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError:
        if ca is not None:
            _check_pem(ca, "CERTIFICATE")
            _check_certificates(ca)
        raise
    context.set_alpn_protocols(_ALPN)
    if tls is not None and tls.certificate is not None:
        _load_pair(context, tls.certificate, tls.key)
    return context


def client_files(tls: UpstreamTlsSettings | None) -> tuple[str, ...]:
    """Return the files that `client_context` reads: those in the settings, or else the system's authorities."""
    found = (tls.ca, tls.certificate, tls.key) if tls is not None else ()
    files = [file for file in found if file is not None]
    if tls is None or tls.ca is None:
        system = ssl.get_default_verify_paths()
        files += [file for file in (system.cafile, system.capath) if file is not None]
    return tuple(files)


def _load_pair(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    def ask_for_password() -> str:
        raise EncryptedKey

    try:
        context.load_cert_chain(certificate, key, password=ask_for_password)
    except EncryptedKey:
        raise
    except OSError as error:
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            raise MismatchedKey(certificate, key or certificate) from None
        _check_pem(certificate, "CERTIFICATE")
        _check_pem(key or certificate, "PRIVATE KEY")
        _check_certificates(certificate)
        raise NotPem(key or certificate, "the private key is damaged or cut off") from None


def _check_certificates(file: str) -> None:
    """Raise NotPem unless OpenSSL can read the certificates in the file."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except ssl.SSLError:
        raise NotPem(file, "a certificate in it is damaged or cut off") from None


def _check_pem(file: str, kind: str) -> None:
    """Raise NotPem unless the file is text with the marks of a PEM block of this kind."""
    try:
        text = read_text(Path(file))
    except NotText as error:
        raise NotPem(file, str(error)) from None
    if f"{kind}-----" not in text:
        raise NotPem(file, f"it contains no `-----BEGIN {kind}-----`, so it is not a {kind.lower()} in PEM format")
