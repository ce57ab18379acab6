"""Names the cause of a connection failure: while connecting, during TLS, or while the connection was in use. No I/O."""

import errno
import os
import re
import socket
import ssl
from collections.abc import Sequence

from proxy.upstream_errors import Reason, UpstreamError

_BY_ERRNO = {
    errno.ECONNREFUSED: Reason.CONNECTION_REFUSED,
    errno.ENETUNREACH: Reason.HOST_UNREACHABLE,
    errno.EHOSTUNREACH: Reason.HOST_UNREACHABLE,
    errno.ENETDOWN: Reason.HOST_UNREACHABLE,
    errno.EHOSTDOWN: Reason.HOST_UNREACHABLE,
    errno.EAFNOSUPPORT: Reason.HOST_UNREACHABLE,  # an IPv6 address on a machine without IPv6
    errno.ETIMEDOUT: Reason.CONNECT_TIMEOUT,
    errno.ENOENT: Reason.SOCKET_NOT_FOUND,
    errno.ENOTDIR: Reason.SOCKET_NOT_FOUND,
    errno.EACCES: Reason.SOCKET_NOT_ALLOWED,
    errno.EPERM: Reason.SOCKET_NOT_ALLOWED,
    errno.ECONNRESET: Reason.CONNECTION_RESET,
    errno.ECONNABORTED: Reason.CONNECTION_RESET,
    errno.EPIPE: Reason.CONNECTION_RESET,
    errno.EMFILE: Reason.TOO_MANY_OPEN_FILES,
    errno.ENFILE: Reason.TOO_MANY_OPEN_FILES,
    errno.EADDRNOTAVAIL: Reason.NO_LOCAL_PORT,
    errno.EADDRINUSE: Reason.NO_LOCAL_PORT,
}

_UNKNOWN_NAMES = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}

# The codes of X509_V_ERR_… in OpenSSL's x509_vfy.h.
_CERTIFICATE_NOT_YET_VALID = {9, 13}
_CERTIFICATE_EXPIRED = {10, 14}
_CERTIFICATE_UNTRUSTED = {2, 7, 18, 19, 20, 21, 24, 27, 28}
_CERTIFICATE_WRONG_NAME = {62, 63, 64}

# OpenSSL's words for bytes that are not TLS.
_NOT_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}

_ERRNO_IN_TEXT = re.compile(r"\[Errno (\d+)\]")


def connection_error(error: BaseException | None) -> UpstreamError:
    """Return the cause of a connection or TLS error. None stands for an orderly end of the connection."""
    if error is None:
        return UpstreamError(Reason.CLOSED, "the upstream closed the connection")
    if isinstance(error, BaseExceptionGroup):
        return _first([connection_error(one) for one in error.exceptions])
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return UpstreamError(Reason.CLOSED, "the upstream closed the TLS connection")
    if isinstance(error, ssl.SSLError):
        return _tls_error(error)
    if isinstance(error, UnicodeError):
        return UpstreamError(Reason.NAME_NOT_FOUND, "the host name is not valid")
    if isinstance(error, socket.gaierror):
        unknown = error.errno in _UNKNOWN_NAMES
        return UpstreamError(Reason.NAME_NOT_FOUND if unknown else Reason.NAME_LOOKUP_FAILED, str(error.strerror))
    if isinstance(error, OSError):
        return _os_error(error)
    return UpstreamError(Reason.OTHER, type(error).__name__)


def connection_loss(error: BaseException | None) -> UpstreamError:
    """Return the cause of the loss of a connection that was in use."""
    cause = connection_error(error)
    if cause.reason is Reason.CONNECT_TIMEOUT:  # the kernel gave up, after probes or repeated packets
        return UpstreamError(Reason.HOST_UNREACHABLE, "the host of the upstream no longer responds")
    if cause.reason is Reason.TLS_NOT_SPOKEN:  # the handshake was complete
        return UpstreamError(Reason.TLS_FAILED, "the upstream sent bytes that are not TLS")
    return cause


def _os_error(error: OSError) -> UpstreamError:
    if error.errno is not None:
        return UpstreamError(_BY_ERRNO.get(error.errno, Reason.OTHER), os.strerror(error.errno))
    if isinstance(error, ConnectionResetError):  # uvloop: the connection ended during the handshake
        return UpstreamError(Reason.CLOSED, "the upstream closed the connection during the TLS handshake")
    if isinstance(error, ConnectionAbortedError):  # uvloop: the handshake took too long
        return UpstreamError(Reason.CONNECT_TIMEOUT, "the TLS handshake did not complete in time")
    if isinstance(error, TimeoutError):
        return UpstreamError(Reason.CONNECT_TIMEOUT, "no connection was made in time")
    # uvloop combines the errors of several addresses into one text.
    numbers = [int(number) for number in _ERRNO_IN_TEXT.findall(str(error))]
    if numbers:
        return _first([_os_error(OSError(number, "")) for number in numbers])
    return UpstreamError(Reason.OTHER, type(error).__name__)


def _first(causes: Sequence[UpstreamError]) -> UpstreamError:
    """Return the most informative cause if several addresses failed: an address that answered comes first."""
    return next((cause for cause in causes if cause.reason is not Reason.HOST_UNREACHABLE), causes[0])


def _tls_error(error: ssl.SSLError) -> UpstreamError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return UpstreamError(_certificate_reason(error.verify_code), error.verify_message)
    words = error.reason or ""
    if words in _NOT_TLS:
        return UpstreamError(Reason.TLS_NOT_SPOKEN, "the upstream does not speak TLS on this port; use http://")
    detail = words.replace("_", " ").lower() or "the TLS connection failed"
    return UpstreamError(Reason.TLS_ALERT if "_ALERT_" in words else Reason.TLS_FAILED, detail)


def _certificate_reason(code: int) -> Reason:
    if code in _CERTIFICATE_EXPIRED:
        return Reason.CERTIFICATE_EXPIRED
    if code in _CERTIFICATE_NOT_YET_VALID:
        return Reason.CERTIFICATE_NOT_YET_VALID
    if code in _CERTIFICATE_WRONG_NAME:
        return Reason.CERTIFICATE_WRONG_NAME
    return Reason.CERTIFICATE_UNTRUSTED if code in _CERTIFICATE_UNTRUSTED else Reason.CERTIFICATE_INVALID
