"""Routes: `[[proxy.routes]]` tables, compiled for the decision. No I/O."""

from proxy.decision.endpoints import endpoint
from proxy.decision.key_reader import KeyReader
from proxy.decision.limits import read_limits
from proxy.decision.method_override import OVERRIDE_NAMES
from proxy.decision.noticed_headers import noticed_headers
from proxy.decision.parameter_finder import Finder
from proxy.decision.parameter_keys import CookieKey
from proxy.decision.parameter_limits import FEW_UNUSUAL
from proxy.decision.parameter_names import Name
from proxy.decision.path_patterns import PathPattern, shown_path
from proxy.decision.pieces import LENIENT_COOKIES, PATH
from proxy.decision.site_rules import SiteRules, listed
from proxy.decision.steering_parameters import STEERING_NAMES
from proxy.http.cors import compile_cors, is_preflight
from proxy.http.drop_headers import DropHeaders
from proxy.http.headers import Head
from proxy.refusals import AMBIGUOUS_REQUEST, METHOD_NOT_ALLOWED, SITE_MISSING, Refusal
from proxy.settings import KeySettings, RouteSettings
from sql.settings import SettingError


class Route:
    """One compiled route: the rules that `decide` applies, and the refusals whose texts mention its settings."""

    __slots__ = (
        "always_reads_sites",
        "cookies",
        "cors",
        "drop_headers",
        "in_shadow_mode",
        "is_plain",
        "keeps_host",
        "key_reader",
        "limits",
        "method_not_allowed",
        "methods",
        "name",
        "override_not_allowed",
        "parameters",
        "path_parameters",
        "path_rules",
        "plus_or_space",
        "prefix",
        "public",
        "refused_endpoints",
        "refused_names",
        "scoped_rules",
        "settings",
        "several_cookies",
        "site_missing",
        "site_rules",
    )

    def __init__(self, settings: RouteSettings, keys: KeySettings) -> None:
        """Raises ValueError with a message that names the route and the rule, and says how to correct it."""
        self.name = settings.name
        self.settings = settings
        try:
            self._compile(settings, keys)
            self._compile_refusals(settings)
            self._check(settings)
        except ValueError as error:
            raise ValueError(f"route {settings.name!r}: {error}") from error

    def _compile(self, settings: RouteSettings, keys: KeySettings) -> None:
        self.prefix = PathPattern(settings.path, prefix=True)
        self.site_rules = SiteRules(settings.sites)
        self.methods = frozenset(method.encode() for method in settings.methods)
        refused_queries = [entry.removeprefix("query:") for entry in settings.refuse if entry.startswith("query:")]
        if "" in refused_queries:
            raise ValueError('"query:" in refuse needs a parameter\'s name, such as "query:urls"')
        self.refused_names = frozenset(map(Name, refused_queries))
        site_names = [rule.name for rule in self.site_rules.queries]
        names = [*site_names, *self.refused_names, *OVERRIDE_NAMES, *STEERING_NAMES]
        self.parameters = Finder(names)
        self.path_parameters = Finder(names, PATH, most_unusual=FEW_UNUSUAL)
        self.cookies = (
            Finder([*site_names, *self.refused_names], LENIENT_COOKIES, most_unusual=FEW_UNUSUAL)
            if settings.cookies == "check" and (site_names or self.refused_names)
            else None
        )
        self.always_reads_sites = bool(self.site_rules.hosts)
        self.key_reader = KeyReader(
            settings.keys_from if settings.keys_from is not None else keys.from_,
            noticed_headers((rule.folded_name for rule in self.site_rules.headers), cookies=self.cookies is not None),
        )
        self.drop_headers = DropHeaders(settings.drop_headers)
        self.in_shadow_mode = settings.mode == "shadow"
        """Whether requests that the decision refuses are forwarded all the same (proxy/shadow.py)."""
        self.is_plain = not (
            settings.drop_headers
            or settings.forward_key
            or self.in_shadow_mode
            or self.site_rules.hosts
            or self.key_reader.reads_queries
        )
        """Whether requests to the route may be plain (plain_claims.py)."""
        self.keeps_host = settings.host != "upstream"
        """Whether the upstream gets the client's Host."""
        given = settings.user_limits
        self.limits = (
            None if given is None else read_limits(given.requests_per_second, given.burst, given.requests_per_day)
        )
        """The limits of each API user on the route, unless it has its own."""
        self.public = [endpoint(entry) for entry in settings.public]
        self.refused_endpoints = [
            endpoint(entry, refuse=True) for entry in settings.refuse if not entry.startswith("query:")
        ]
        self.cors = compile_cors(settings, self._headers_for_pages())

    def _compile_refusals(self, settings: RouteSettings) -> None:
        """Create the refusals whose texts mention the route's settings."""
        allowed = ", ".join(settings.methods)
        self.method_not_allowed = METHOD_NOT_ALLOWED.because(
            f"This endpoint does not allow this method. Allowed methods: {allowed}.", f"Allow: {allowed}\r\n".encode()
        )
        self.override_not_allowed = METHOD_NOT_ALLOWED.because(
            "A header or parameter of this request overrides its method with one that this endpoint does not allow. "
            f"Allowed methods: {allowed}.",
            self.method_not_allowed.lines,
        )
        rules = self.site_rules
        parameters = listed(rule.text for rule in rules.queries)
        self.several_cookies = AMBIGUOUS_REQUEST.because(
            f"A cookie has the name of a query parameter that names the site ({parameters}), and the request has "
            "several Cookie headers. Some servers join them with a comma, which changes the value of that cookie. "
            "Send one Cookie header, without such a cookie."
        )
        self.plus_or_space = AMBIGUOUS_REQUEST.because(
            f"The value of a query parameter that names the site ({parameters}) contains a `+`. Servers read it as a "
            "plus or as a space, and this API key covers both sites. Send `%20` for a space and `%2B` for a plus."
        )
        self.path_rules = listed(shown_path(rule.template) for rule in rules.paths)
        """The path rules, as messages show them."""
        scoped = [rule.describe() for rule in rules.queries if rule.scope is not None]
        scoped += [rule.describe() for rule in rules.headers if rule.scope is not None]
        self.scoped_rules = "; ".join(scoped)
        """The site rules with `paths`, as messages show them."""
        self.site_missing = _site_missing([rule.describe() for rule in rules.rules])

    def _check(self, settings: RouteSettings) -> None:
        if covered := sorted(name.decode() for name in self.judged_names if self.drop_headers.covers(name)):
            raise SettingError(
                f"covers {covered[0]}, which the route reads. Remove the entry from drop_headers", "drop_headers"
            )
        if self.prefix.names_site:
            raise SettingError("is a plain prefix. Name the site in `sites`", "path")
        if settings.workspace is None:
            if settings.without_site == "all-sites":
                raise SettingError('"all-sites" needs workspace = "…", the workspace of these sites', "without_site")
            for index, rule in enumerate(settings.sites):
                if not isinstance(rule, str) and rule.all is not None:
                    raise SettingError(
                        f'the word {rule.all!r} for all sites needs workspace = "…", the workspace of these sites',
                        "sites",
                        index,
                    )

    def _headers_for_pages(self) -> list[str]:
        """Return the headers with which pages from other origins may send a key or name a site."""
        return [header[0] for header in self._key_headers()] + [rule.rule.header for rule in self.site_rules.headers]

    def _key_headers(self) -> list[tuple[str, str]]:
        """Return the headers that may carry a key, with examples of their values."""
        examples = [
            location.example().header for location in self.key_reader.locations if not isinstance(location, CookieKey)
        ]
        return [header for header in examples if header]

    def answers_preflight(self, head: Head) -> bool:
        """Return whether a request is a CORS preflight that Sitelatch answers itself."""
        return self.cors is not None and head.method == b"OPTIONS" and is_preflight(head.fields)

    def lines_of(self, refusal: Refusal, origin: bytes) -> bytes:
        """Return the header lines that the route adds to a refusal of a request with this `Origin`."""
        cors = self.cors.refusal(origin) if self.cors is not None else b""
        return self.key_reader.challenges + cors if refusal.challenge else cors

    @property
    def judged_names(self) -> frozenset[bytes]:
        """The headers that the decision reads. Names are in lowercase, with `-` for `_`."""
        return self.key_reader.names | {rule.folded_name for rule in self.site_rules.headers} | {b"content-type"}

    @property
    def noticed_names(self) -> frozenset[bytes]:
        """The headers that the decision or CORS reads, folded. All others pass unread."""
        return self.key_reader.noticed | {b"origin"}

    @property
    def plain_key_fields(self) -> list[bytes]:
        """The usual spellings of header lines with a key, up to the key itself."""
        lines = [f"{header[0]}: {header[1]}" for header in self._key_headers() if header[1].endswith("{key}")]
        starts = [line.removesuffix("{key}").encode() for line in lines]
        return starts + [start.lower().replace(b"bearer", b"Bearer") for start in starts]

    @property
    def site_headers(self) -> list[str]:
        """The headers that name sites, in lowercase."""
        return [rule.name.decode() for rule in self.site_rules.headers]


def _site_missing(ways: list[str]) -> Refusal:
    if not ways:
        return SITE_MISSING
    return SITE_MISSING.because(f"This request must name a site: {'; or '.join(ways)}.")
