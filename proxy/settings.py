"""The config tables of the proxy, as frozen and validated objects. Names include their units."""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StrictBool, field_validator, model_validator

from proxy.setting_values import DEFAULT_PORTS, Count, Method, Seconds, SocketGroup, SocketMode, UpstreamUrl, is_origin
from sql.settings import SettingError, Settings


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


MIN_PER_SECOND: Final = 1e-6
"""The smallest limit of an API user, about one request in twelve days."""
MAX_PER_SECOND: Final = 1_000_000
MAX_BURST: Final = 1_000_000
MAX_PER_DAY: Final = 1_000_000_000_000
"""The largest limits of an API user. They are far beyond what one process can forward."""

DEFAULT_METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


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
            if not is_origin(origin):
                raise SettingError(
                    f"{origin!r} is not a valid origin. Write scheme and host in lowercase, and any non-default port, "
                    'such as "https://app.example" or "http://localhost:5173"',
                    index,
                )
            if DEFAULT_PORTS.match(origin):
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


class UserLimitSettings(Settings):
    """`[proxy.routes.user_limits]`: the limits of each API user on the route."""

    requests_per_second: Annotated[float, Field(ge=MIN_PER_SECOND, le=MAX_PER_SECOND, allow_inf_nan=False)] | None = (
        None
    )
    burst: Annotated[int, Field(gt=0, le=MAX_BURST)] | None = None
    requests_per_day: Annotated[int, Field(gt=0, le=MAX_PER_DAY)] | None = None

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if self.burst is not None and self.requests_per_second is None:
            raise SettingError("needs requests_per_second", "burst")
        if self.requests_per_second is None and self.requests_per_day is None:
            raise SettingError("needs requests_per_second or requests_per_day")
        return self


class RouteSettings(Settings):
    """One `[[proxy.routes]]` table: which requests it handles, their upstream, and where they name their sites."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,63}$")]
    mode: Literal["enforce", "shadow"] = "enforce"
    path: str = "/"
    upstream: UpstreamUrl
    upstream_tls: UpstreamTlsSettings | None = None
    host: Literal["keep", "upstream"] = "keep"
    sites: tuple[str | QueryRule | HeaderRule, ...] = ()
    without_site: Literal["refuse", "any-key", "all-sites"] = "refuse"
    workspace: str | None = None
    public: tuple[str, ...] = ()
    methods: Annotated[tuple[Method, ...], Field(min_length=1)] = DEFAULT_METHODS
    preflight: Literal["pass", "refuse"] = "refuse"
    form_body: Literal["auto", "refuse", "pass"] = "auto"
    cookies: Literal["check", "ignore"] = "check"
    encoded_parameters: Literal["refuse", "pass"] = "refuse"
    second_resource: Literal["refuse", "pass"] = "refuse"
    cors: CorsSettings | None = None
    user_limits: UserLimitSettings | None = None
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


class ListenSettings(Settings):
    """The config keys that every listener has: its address and, for a unix socket, its permissions."""

    listen: str
    socket_mode: SocketMode = None
    socket_group: SocketGroup = None


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
    """`[activity]`: how often the last activity and the usage of API users are written."""

    flush_seconds: Seconds = 5
    resolution_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 60
    usage_seconds: Seconds = 10


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
