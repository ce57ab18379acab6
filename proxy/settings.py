"""The config tables of the proxy, as frozen and validated objects. Names include their units."""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, field_validator, model_validator

from sql.settings import SettingError, Settings

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]


_NEVER_FORWARDED = {
    "CONNECT": "it opens a tunnel, and Sitelatch is not a forward proxy",
    "PRI": "it starts an HTTP/2 connection (RFC 9113 §3.4)",
    "TRACE": "its response repeats the request, with the headers that Sitelatch adds (RFC 9110 §9.3.8)",
}


# A token (RFC 9110 §9.1), without lowercase letters, because a backend that ignores case would see a different method,
# and without `*`, which means every method in `refuse`.
_METHOD = re.compile(r"[A-Z0-9!#$%&'+.^_`|~-]{1,64}\Z")


def check_method(method: str) -> str:
    """Return the method if it may be forwarded. Raises ValueError otherwise."""
    if not _METHOD.match(method):
        raise ValueError(f'{method!r} is not a valid method. Write it in uppercase, such as "PROPFIND"')
    if method in _NEVER_FORWARDED:
        raise ValueError(f"{method} is never forwarded: {_NEVER_FORWARDED[method]}")
    return method


class TlsListenSettings(Settings):
    """`[proxy.tls]`: PEM files for HTTPS on the front door."""

    certificate: str
    key: str


class UpstreamTlsSettings(Settings):
    """`[proxy.routes.upstream_tls]`: how to verify an https:// upstream, and the client certificate to present."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    server_name: str | None = None


class ValueRule(Settings):
    """The common keys of site rules in table form: how a value names sites, and on which paths."""

    separator: str | None = None
    all: str | None = None
    template: str | None = None
    templates: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    paths: Annotated[tuple[str, ...], Field(min_length=1)] | None = None

    @property
    def forms(self) -> tuple[str, ...]:
        """The templates for a value, in the order in which they are tried."""
        return self.templates or (self.template or "{site}",)


class QueryRule(ValueRule):
    """A rule for a query parameter that needs more than the short form `query:NAME`."""

    query: str
    array: StrictBool = False


class HeaderRule(ValueRule):
    """A rule for a request header that needs more than the short form `header:NAME`."""

    header: str


DEFAULT_METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")

_Method = Annotated[str, AfterValidator(check_method)]


# An origin as browsers serialize it: in lowercase, without a path, and without a default port.
_ORIGIN = re.compile(
    r"[a-z][a-z0-9+.-]*://(?P<host>[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?\Z"
)
_DEFAULT_PORTS = re.compile(r"http://.*:80\Z|https://.*:443\Z")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


def _is_origin(text: str) -> bool:
    parts = _ORIGIN.match(text)
    return parts is not None and _is_host(parts["host"]) and int(parts["port"] or 1) <= _LAST_PORT


def _is_host(text: str) -> bool:
    """Return False for text that looks like an IP address but is not one. Anything else is a host name."""
    try:
        if text.startswith("["):
            IPv6Address(text[1:-1])
        elif text.removesuffix(".").rpartition(".")[2].isdecimal():
            IPv4Address(text)
    except AddressValueError:
        return False
    return True


class CorsSettings(Settings):
    """`[proxy.routes.cors]`: the origins whose pages may use the route, and what they may send."""

    origins: Annotated[tuple[str, ...], Field(min_length=1)]
    credentials: StrictBool = False
    headers: tuple[str, ...] = ()
    max_age_seconds: Annotated[int, Field(ge=0)] = 600

    @field_validator("origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        if origins == ("*",):
            return origins
        for index, origin in enumerate(origins):
            if origin == "*":
                raise SettingError('"*" means every origin. Remove the other origins, or "*"', index)
            if not _is_origin(origin):
                raise SettingError(
                    f"{origin!r} is not a valid origin. Write scheme and host in lowercase, and any non-default port, "
                    'such as "https://app.example" or "http://localhost:5173"',
                    index,
                )
            if _DEFAULT_PORTS.match(origin):
                raise SettingError(
                    f"{origin!r} never matches, because browsers omit the default port. Remove the port", index
                )
        return origins

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: tuple[str, ...]) -> tuple[str, ...]:
        for index, header in enumerate(headers):
            if not _HEADER.match(header):
                raise SettingError(f"{header!r} is not a valid header name", index)
            if header == "*" and len(headers) > 1:
                raise SettingError('"*" means every header. Remove the other headers, or "*"', index)
        return headers

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if self.credentials and "*" in (*self.origins, *self.headers):
            raise SettingError('cannot be true if "*" is listed. List the origins and the headers', "credentials")
        return self


_LAST_PORT = 65535
_UPSTREAM = re.compile(
    r"https?://(?P<host>[^/?#@:\[\]\s]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?/?\Z|unix:/[^?#\s]+\Z"
)


def _check_upstream(url: str) -> str:
    parts = _UPSTREAM.match(url)
    if parts is None or not _is_host(parts["host"] or "") or int(parts["port"] or 1) > _LAST_PORT:
        # The message does not repeat the value, because it may contain a password.
        raise ValueError(
            "must be http://HOST[:PORT], https://HOST[:PORT] or unix:/PATH. A port is a number from 1 to 65535, an "
            "IPv6 address is written in brackets, and a path, query or user name is not allowed"
        )
    return url


class RouteSettings(Settings):
    """One `[[proxy.routes]]` table: which requests it handles, their upstream, and where they name their sites."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,63}$")]
    path: str = "/"
    upstream: Annotated[str, AfterValidator(_check_upstream)]
    upstream_tls: UpstreamTlsSettings | None = None
    host: Literal["keep", "upstream"] = "keep"
    sites: tuple[str | QueryRule | HeaderRule, ...] = ()
    without_site: Literal["refuse", "any-key", "all-sites"] = "refuse"
    workspace: str | None = None
    public: tuple[str, ...] = ()
    methods: Annotated[tuple[_Method, ...], Field(min_length=1)] = DEFAULT_METHODS
    preflight: Literal["pass", "refuse"] = "refuse"
    form_body: Literal["auto", "refuse", "pass"] = "auto"
    cookies: Literal["check", "ignore"] = "check"
    encoded_parameters: Literal["refuse", "pass"] = "refuse"
    second_resource: Literal["refuse", "pass"] = "refuse"
    cors: CorsSettings | None = None
    refuse: tuple[str, ...] = ()
    keys_from: tuple[str, ...] | None = None
    forward_key: StrictBool = False
    drop_headers: tuple[str, ...] = ()
    reuse_after_body: StrictBool = True

    @model_validator(mode="after")
    def _check_preflight(self) -> Self:
        if self.cors is not None and self.preflight == "pass":
            raise SettingError(
                '"pass" cannot be combined with cors, because Sitelatch then answers preflights itself', "preflight"
            )
        return self


_SOCKET_MODE = re.compile(r"0?[0-7]{3}\Z")


def _socket_mode(mode: object) -> object:
    if mode is None or (isinstance(mode, str) and _SOCKET_MODE.match(mode)):
        return None if mode is None else int(mode, 8)
    raise ValueError('must be three octal digits in quotes, like "0660"')


_LAST_GROUP_ID = 2**32 - 2


def _socket_group(group: object) -> object:
    if group is None:
        return None
    name = str(group) if type(group) in (str, int) else ""
    too_large = name.isdecimal() and int(name[:20]) > _LAST_GROUP_ID
    if not name or name.startswith("-") or too_large:
        raise ValueError('must be the name or the id of a group, like "www-data"')
    return name


class ListenSettings(Settings):
    """The config keys that every listener has: its address and, for a unix socket, its permissions."""

    listen: str
    socket_mode: Annotated[int | None, BeforeValidator(_socket_mode)] = None
    socket_group: Annotated[str | None, BeforeValidator(_socket_group)] = None


class ProxySettings(ListenSettings):
    """`[proxy]`: the front door."""

    listen: str = "127.0.0.1:8080"
    public_url: Annotated[str, Field(pattern=r"^https?://[!-~]+$")] | None = None
    tls: TlsListenSettings | None = None
    trusted_proxies: tuple[str, ...] = ()
    header_underscores: Literal["drop", "pass"] = "drop"
    drop_headers: tuple[str, ...] = ()
    routes: Annotated[tuple[RouteSettings, ...], Field(min_length=1)]


class LimitSettings(Settings):
    """`[limits]`: limits per client and in total."""

    head_seconds: Seconds = 10
    head_bytes: Count = 32768
    head_count: Count = 100
    target_bytes: Count = 8192
    keepalive_seconds: Seconds = 75
    connect_seconds: Seconds = 5
    answer_seconds: Seconds = 60
    upload_idle_seconds: Seconds = 60
    upstream_idle_seconds: Seconds = 4
    upstream_max_age_seconds: Seconds = 300
    upstream_connections: Count = 512
    upstream_wait_seconds: Seconds = 5
    open_exchanges: Count = 10000
    connections_per_client: Count = 5000


class KeySettings(Settings):
    """`[keys]`: where requests carry their key, and limits on unknown keys."""

    from_: Annotated[tuple[str, ...], Field(alias="from", min_length=1)] = ("header:X-API-Key", "bearer")
    accept_foreign: StrictBool = False
    unknown_per_minute: Count = 60


class GrantSettings(Settings):
    """`[grants]`: the cache of grants, and limits on lookups."""

    ttl_seconds: Seconds = 30
    stale_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 300
    poll_seconds: Seconds = 1
    max_keys: Count = 100000
    unknown_ttl_seconds: Seconds = 5
    lookup_seconds: Seconds = 2
    lookups_at_once: Count = 8


class ActivitySettings(Settings):
    """`[activity]`: how often the last activity of API users is written."""

    flush_seconds: Seconds = 5
    resolution_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 60


class DrainSettings(Settings):
    """`[drain]`: the phases of a graceful shutdown."""

    delay_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    timeout_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 30


class LogSettings(Settings):
    """`[log]`: which requests are logged."""

    access: Literal["all", "refused", "off"] = "all"


class OpsSettings(ListenSettings):
    """`[ops]`: the listener for probes and metrics."""

    listen: str = "127.0.0.1:9090"
