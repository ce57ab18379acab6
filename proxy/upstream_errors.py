"""Every reason why a request got no complete response from its upstream, as a stable code. No I/O."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why an upstream failed. docs/metrics.md explains each reason, and a test compares the two."""

    # The host name.
    NAME_NOT_FOUND = "name_not_found"
    NAME_LOOKUP_FAILED = "name_lookup_failed"
    # The connection.
    CONNECTION_REFUSED = "connection_refused"
    HOST_UNREACHABLE = "host_unreachable"
    CONNECT_TIMEOUT = "connect_timeout"
    SOCKET_NOT_FOUND = "socket_not_found"
    SOCKET_NOT_ALLOWED = "socket_not_allowed"
    # TLS.
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_NOT_YET_VALID = "certificate_not_yet_valid"
    CERTIFICATE_WRONG_NAME = "certificate_wrong_name"
    CERTIFICATE_UNTRUSTED = "certificate_untrusted"
    CERTIFICATE_INVALID = "certificate_invalid"
    TLS_NOT_SPOKEN = "tls_not_spoken"
    TLS_EXPECTED = "tls_expected"
    TLS_ALERT = "tls_alert"
    TLS_FAILED = "tls_failed"
    # The response.
    CLOSED = "closed"
    CONNECTION_RESET = "connection_reset"
    RESPONSE_TIMEOUT = "response_timeout"
    NOT_HTTP = "not_http"
    MALFORMED_HEAD = "malformed_head"
    HEAD_TOO_LARGE = "head_too_large"
    INVALID_FRAMING = "invalid_framing"
    UNEXPECTED_UPGRADE = "unexpected_upgrade"
    MALFORMED_BODY = "malformed_body"
    # Sitelatch's own limits, and those of its machine.
    NO_FREE_CONNECTION = "no_free_connection"
    TOO_MANY_OPEN_FILES = "too_many_open_files"
    NO_LOCAL_PORT = "no_local_port"
    OTHER = "other"


OWN_LIMITS = frozenset({Reason.TOO_MANY_OPEN_FILES, Reason.NO_LOCAL_PORT})
"""Reasons for which Sitelatch or its machine cannot open a connection. They are not the upstream's fault."""


@dataclass(frozen=True, slots=True)
class UpstreamError:
    """Why one request got no complete response. `detail` is for people. It never contains text from the upstream."""

    reason: Reason
    detail: str
