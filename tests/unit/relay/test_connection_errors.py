"""The reason for each error of a connection to an upstream."""

import errno
import os
import socket
import ssl

import pytest

from proxy.relay.connection_errors import connection_error, connection_loss
from proxy.upstream_errors import Reason


def unverified(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    error.verify_message = "text of OpenSSL"
    return error


def tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, "text of OpenSSL")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ECONNREFUSED, ""), Reason.CONNECTION_REFUSED),
        (OSError(errno.ENETUNREACH, ""), Reason.HOST_UNREACHABLE),
        (OSError(errno.EHOSTUNREACH, ""), Reason.HOST_UNREACHABLE),
        (OSError(errno.ETIMEDOUT, ""), Reason.CONNECT_TIMEOUT),
        (OSError(errno.ECONNRESET, ""), Reason.CONNECTION_RESET),
        (OSError(errno.EPIPE, ""), Reason.CONNECTION_RESET),
        (OSError(errno.ENOENT, ""), Reason.SOCKET_NOT_FOUND),
        (OSError(errno.EACCES, ""), Reason.SOCKET_NOT_ALLOWED),
        (OSError(errno.EMFILE, ""), Reason.TOO_MANY_OPEN_FILES),
        (OSError(errno.ENFILE, ""), Reason.TOO_MANY_OPEN_FILES),
        (OSError(errno.EADDRNOTAVAIL, ""), Reason.NO_LOCAL_PORT),
        (OSError(errno.EPROTOTYPE, ""), Reason.OTHER),  # a datagram socket
        (socket.gaierror(socket.EAI_NONAME, "unknown"), Reason.NAME_NOT_FOUND),
        (socket.gaierror(socket.EAI_AGAIN, "try again"), Reason.NAME_LOOKUP_FAILED),
        (UnicodeError("label empty or too long"), Reason.NAME_NOT_FOUND),
        (TimeoutError(), Reason.CONNECT_TIMEOUT),
        (ConnectionResetError(), Reason.CLOSED),  # uvloop: the end of the connection during the handshake
        (ConnectionAbortedError("SSL handshake is taking longer"), Reason.CONNECT_TIMEOUT),
        (unverified(10), Reason.CERTIFICATE_EXPIRED),
        (unverified(9), Reason.CERTIFICATE_NOT_YET_VALID),
        (unverified(62), Reason.CERTIFICATE_WRONG_NAME),
        (unverified(64), Reason.CERTIFICATE_WRONG_NAME),
        (unverified(18), Reason.CERTIFICATE_UNTRUSTED),
        (unverified(20), Reason.CERTIFICATE_UNTRUSTED),
        (unverified(66), Reason.CERTIFICATE_INVALID),
        (tls("WRONG_VERSION_NUMBER"), Reason.TLS_NOT_SPOKEN),
        (tls("SSLV3_ALERT_HANDSHAKE_FAILURE"), Reason.TLS_ALERT),
        (tls("DH_KEY_TOO_SMALL"), Reason.TLS_FAILED),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), Reason.CLOSED),
        (None, Reason.CLOSED),
        (RuntimeError("text"), Reason.OTHER),
    ],
)
def test_each_error_has_a_reason(error: BaseException | None, reason: Reason) -> None:
    cause = connection_error(error)
    assert cause.reason is reason
    assert cause.detail


@pytest.mark.parametrize(
    "error",
    [
        OSError("Multiple exceptions: [Errno 113] No route to host, [Errno 111] Connection refused"),
        ExceptionGroup("", [OSError(errno.EHOSTUNREACH, ""), OSError(errno.ECONNREFUSED, "")]),
        ExceptionGroup("", [OSError(errno.ECONNREFUSED, ""), OSError(errno.ENETUNREACH, "")]),
    ],
)
def test_the_reason_comes_from_the_address_that_answered(error: Exception) -> None:
    assert connection_error(error).reason is Reason.CONNECTION_REFUSED


def test_a_timeout_on_an_open_connection_is_not_a_connect_timeout() -> None:
    assert connection_loss(OSError(errno.ETIMEDOUT, "")).reason is Reason.HOST_UNREACHABLE


def test_bytes_that_are_not_tls_say_nothing_about_the_port_once_the_handshake_is_complete() -> None:
    assert connection_loss(tls("WRONG_VERSION_NUMBER")).reason is Reason.TLS_FAILED


def test_error_details_are_the_texts_of_the_system() -> None:
    """An error's own text can quote anything, such as a path or received bytes."""
    assert connection_error(OSError(errno.ECONNREFUSED, "text")).detail == os.strerror(errno.ECONNREFUSED)
    assert connection_error(RuntimeError("text")).detail == "RuntimeError"
