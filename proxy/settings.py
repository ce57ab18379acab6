"""The proxy's part of the config file, as frozen, validated objects. Units are in the names."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]


class Settings(BaseModel):
    """The base of every table of the config file: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
"""The methods that a route forwards by default. Those of WebDAV and others can name a second resource."""


class TlsListenSettings(Settings):
    """`[proxy.tls]`: PEM files that make the front door speak https."""

    certificate: str
    key: str


class UpstreamTlsSettings(Settings):
    """`[proxy.routes.upstream_tls]`: how an https:// upstream is verified. Paths are PEM files."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    server_name: str | None = None


class ValueRule(Settings):
    """What the table forms of site rules share: how a value names sites, and on which paths it does."""

    separator: str | None = None
    all: str | None = None
    template: str | None = None
    templates: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    paths: Annotated[tuple[str, ...], Field(min_length=1)] | None = None

    @property
    def forms(self) -> tuple[str, ...]:
        """The templates of a value, in the order they are tried."""
        return self.templates or (self.template or "{site}",)


class QueryRule(ValueRule):
    """A site named by a query parameter, where the short form `query:NAME` is not enough."""

    query: str
    array: bool = False


class HeaderRule(ValueRule):
    """A site named by a request header, where the short form `header:NAME` is not enough."""

    header: str


class RouteSettings(Settings):
    """One `[[proxy.routes]]` table: which requests, to which upstream, and where they name their site."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,63}$")]
    path: str = "/"
    upstream: str
    upstream_tls: UpstreamTlsSettings | None = None
    host: Literal["keep", "upstream"] = "keep"
    sites: tuple[str | QueryRule | HeaderRule, ...] = ()
    without_site: Literal["refuse", "any-key", "all-sites"] = "refuse"
    workspace: str | None = None
    methods: Annotated[tuple[str, ...], Field(min_length=1)] = METHODS
    public: tuple[str, ...] = ()
    preflight: Literal["pass", "refuse"] = "refuse"
    form_body: Literal["auto", "refuse", "pass"] = "auto"
    cookies: Literal["check", "ignore"] = "check"
    encoded_parameters: Literal["refuse", "pass"] = "refuse"
    second_resource: Literal["refuse", "pass"] = "refuse"
    refuse: tuple[str, ...] = ()
    keys_from: tuple[str, ...] | None = None
    forward_key: bool = False
    drop_headers: tuple[str, ...] = ()


class ProxySettings(Settings):
    """`[proxy]`: the front door."""

    listen: str = "127.0.0.1:8080"
    public_url: Annotated[str, Field(pattern=r"^https?://[!-~]+$")] | None = None
    tls: TlsListenSettings | None = None
    workers: Count = 1
    trusted_proxies: tuple[str, ...] = ()
    header_underscores: Literal["drop", "pass"] = "drop"
    drop_headers: tuple[str, ...] = ()
    routes: Annotated[tuple[RouteSettings, ...], Field(min_length=1)]


class LimitSettings(Settings):
    """`[limits]`: what one client, or all of them, may take. Each has a status of its own."""

    head_seconds: Seconds = 10
    head_bytes: Count = 32768
    head_count: Count = 100
    target_bytes: Count = 8192
    keepalive_seconds: Seconds = 75
    connect_seconds: Seconds = 5
    answer_seconds: Seconds = 60
    upload_idle_seconds: Seconds = 60
    upstream_idle_seconds: Seconds = 4
    upstream_connections: Count = 512
    upstream_wait_seconds: Seconds = 5
    open_exchanges: Count = 10000


class KeySettings(Settings):
    """`[keys]`: where a request carries its API key."""

    from_: Annotated[tuple[str, ...], Field(alias="from", min_length=1)] = ("header:X-API-Key", "bearer")
    accept_foreign: bool = False
    unknown_per_minute: Count = 60


class GrantSettings(Settings):
    """`[grants]`: how long what a key may do is remembered, and how a lookup is bounded."""

    ttl_seconds: Seconds = 30
    stale_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 300
    poll_seconds: Seconds = 1
    max_keys: Count = 100000
    unknown_ttl_seconds: Seconds = 5
    lookup_seconds: Seconds = 2
    lookups_at_once: Count = 8


class ActivitySettings(Settings):
    """`[activity]`: how often last activity is written."""

    flush_seconds: Seconds = 5
    resolution_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 60


class DrainSettings(Settings):
    """`[drain]`: how a stop goes."""

    delay_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    timeout_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 30


class LogSettings(Settings):
    """`[log]`: what goes to stderr, besides warnings."""

    access: Literal["all", "refused", "off"] = "all"


class OpsSettings(Settings):
    """`[ops]`: where probes and metrics are served."""

    listen: str = "127.0.0.1:9090"
