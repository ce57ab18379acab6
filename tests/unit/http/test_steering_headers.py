"""Steering headers are dropped, ordinary ones are forwarded, and docs/backends.md lists the dropped ones."""

import re
import tomllib

import pytest

from proxy.decision.method_override import OVERRIDE_HEADERS, OVERRIDE_PARAMETERS
from proxy.decision.second_resource import SECOND_RESOURCE_HEADERS, names_second_resource
from proxy.http.drop_headers import DropHeaders
from proxy.http.headers import Head, fold_name
from proxy.http.hop_by_hop import clean_request
from proxy.http.known_headers import KnownHeader
from proxy.http.request_header_names import RequestSpellings
from proxy.http.steering_headers import STEERING_HEADERS
from tests.header_tables import PAGE, generated

HOST = (b"Host", b"api.example.com")
SPELLINGS = RequestSpellings()
PASSING_UNDERSCORES = RequestSpellings("pass")


def forwarded(name: bytes, spellings: RequestSpellings, *, trusted: bool) -> bool:
    hop = clean_request(
        Head(b"GET", b"/", [HOST, (name, b"/x")]),
        spellings=spellings,
        trusted=trusted,
        judged=frozenset(),
        trailer_bytes=100,
    )
    return len(hop.head.fields) == 2


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("row", STEERING_HEADERS, ids=lambda row: row.name)
def test_a_steering_header_is_dropped_in_every_spelling(row: KnownHeader, trusted: bool) -> None:
    name = row.name.replace("*", "zz").encode()
    for spelling in (name, name.upper(), name.title(), name.replace(b"-", b"_"), name.replace(b"-", b"_").upper()):
        assert not forwarded(spelling, SPELLINGS, trusted=trusted), spelling
        assert not forwarded(spelling, PASSING_UNDERSCORES, trusted=trusted), spelling


@pytest.mark.parametrize(
    "name",
    [
        # Names from published attacks.
        *("SCRIPT_NAME", "Script-Name", "X-Script-Name", "PATH_INFO", "X-Path-Info", "X-Traversal-Path"),
        *("Daphne-Root-Path", "Root-Path", "X-Forwarded-Prefix", "X-Forwarded-Path", "X-Forwarded-Uri"),
        *("X-Original-URL", "X-Original-URI", "X-Original-Method", "X-Original-Host", "X-Rewrite-URL", "X-Rewrite-Url"),
        *("X-Envoy-Original-Path", "X-Envoy-Original-Dst-Host", "X-Host", "X-HTTP-Host-Override", "X-Backend-Host"),
        *("X-Forwarded-Server", "x-middleware-subrequest", "x-middleware-rewrite", "x-matched-path", "x-invoke-path"),
        *("x-invoke-query", "x-now-route-matches", "x-astro-path", "x-astro-locals", "X-React-Router-SPA-Mode"),
        *("X-Sendfile-Type", "X-Accel-Mapping", "X-Accel-Redirect", "X-Forwarded-Ssl", "X-Forwarded-Protocol"),
        *("X-Url-Scheme", "Front-End-Https", "WL-Proxy-SSL", "$WSSN", "X-Replaced-Path", "X-VHM-Root"),
        *("Next-Url", "X-SvelteKit-Pathname", "X-SvelteKit-Search", "x-opennext-initial-url", "Dapr-App-Id"),
        *(
            "Knative-Serving-Revision",
            "spring.cloud.function.routing-expression",
            "CAmelHttpUri",
            "X-Param-Override-site",
            "l5d-dst-override",
        ),
    ],
)
def test_a_header_from_a_known_attack_is_dropped(name: str) -> None:
    for trusted in (False, True):
        assert not forwarded(name.encode(), SPELLINGS, trusted=trusted)
        assert not forwarded(name.encode(), PASSING_UNDERSCORES, trusted=trusted)


ORDINARY = """
Accept Accept-Charset Accept-Encoding Accept-Language Accept-Datetime A-IM Access-Control-Request-Headers
Access-Control-Request-Method Authorization Baggage B3 Cache-Control Content-Disposition Content-Encoding
Content-Language Content-Location Content-MD5 Content-Range Content-Type Content-Digest Repr-Digest Digest Cookie Date
Depth DNT DPR Early-Data ETag From GData-Version Grpc-Timeout Grpc-Encoding If-Match If-Modified-Since If-None-Match
If-Range If-Unmodified-Since Idempotency-Key Last-Event-ID Link Max-Forwards MIME-Version OData-Version
OData-MaxVersion Origin Overwrite Pragma Prefer Priority Range Referer Save-Data Sec-CH-UA Sec-CH-UA-Mobile
Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Sec-Fetch-User Sec-GPC Sec-WebSocket-Extensions Sec-WebSocket-Key
Sec-WebSocket-Protocol Sec-WebSocket-Version Sentry-Trace Server-Timing Signature Signature-Input Slug SOAPAction
Timeout Traceparent Tracestate Tus-Resumable Upgrade-Insecure-Requests Upload-Length Upload-Metadata Upload-Offset
User-Agent Via Viewport-Width Want-Digest Lock-Token Translate X-Access-Token X-Amz-Acl X-Amz-Algorithm
X-Amz-Content-Sha256 X-Amz-Date X-Amz-Decoded-Content-Length X-Amz-Meta-Name X-Amz-Sdk-Checksum-Algorithm
X-Amz-Security-Token X-Amz-Server-Side-Encryption X-Amz-Storage-Class X-Amz-Tagging X-Amz-Target X-Amz-User-Agent
Amz-Sdk-Invocation-Id Amz-Sdk-Request X-Amzn-Trace-Id X-Api-Version X-App-Version X-Auth-Token X-B3-Sampled
X-B3-SpanId X-B3-TraceId X-Client-Data X-Client-Version X-Cloud-Trace-Context X-Correlation-ID X-Couch-Full-Commit
X-CSRF-Token X-CSRFToken X-Datadog-Trace-Id X-Device-Id X-DNS-Prefetch-Control X-File-Name X-Gitlab-Token
X-GitHub-Api-Version X-GitHub-Event X-Goog-Api-Client X-Goog-Api-Key X-Goog-Meta-Name X-Goog-Request-Params
X-Goog-User-Project X-Goog-Hash X-Goog-Upload-Protocol X-Honeycomb-Team X-Http-Method-Override X-HTTP-Method
X-Hub-Signature-256 X-Influxdb-Version X-Inertia X-Insight X-Meta-Name X-Ms-Blob-Type X-Ms-Client-Request-Id X-Ms-Date
X-Ms-Version X-Nextjs-Data Next-Router-State-Tree Next-Action RSC X-Opaque-Id X-OpenAI-Client X-Oss-Date
X-PJAX X-Plausible-Domain X-Powered-By X-Prometheus-Remote-Write-Version X-Purpose X-Real-Name X-Request-Start
X-Requested-With X-Session-Id X-Shopify-Access-Token X-Stainless-Lang X-SvelteKit-Action
X-Timezone X-Transaction-ID X-TTL-Seconds X-UIDH X-Upload-Content-Type X-Vercel-Protection-Bypass
X-WP-Nonce X-XSRF-TOKEN kbn-xsrf kbn-version hx-request hx-target hx-current-url Turbo-Frame apikey api-key x-api-key
anthropic-version openai-organization stripe-version linear-api-key notion-version x-client-info x-upsert x-region
x-ms-meta-name x-object-meta-color x-container-meta-quota x-delete-after x-newest x-trans-id-extra x-storage-token
x-registry-auth x-vault-token x-consul-token x-nomad-token x-jwt-assertion x-cache-hash x-hasura-role x-scope-orgid
accept-profile content-profile x-clickhouse-database x-grafana-org-id x-trino-user x-parse-application-id surreal-ns
elastic-api-version x-elastic-client-meta x-product-origin x-experience-api-version
""".split()  # noqa: SIM905 - a list of strings would be less readable


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_client_header_is_forwarded(name: str) -> None:
    assert forwarded(name.encode(), SPELLINGS, trusted=False)
    assert not names_second_resource([(name.encode(), b"/x")], copies=True)


def test_the_list_of_ordinary_headers_is_long() -> None:
    assert len(set(map(str.lower, ORDINARY))) == len(ORDINARY) > 200


@pytest.mark.parametrize("row", [*STEERING_HEADERS, *SECOND_RESOURCE_HEADERS], ids=lambda row: row.name)
def test_each_row_of_the_header_table_can_be_verified(row: KnownHeader) -> None:
    name = row.name.removesuffix("*")
    assert re.fullmatch(r"[a-z0-9-]+", name)
    assert fold_name(name.encode()) == name.encode()
    assert row.software
    assert row.effect
    assert len(row.source) > 5
    if row.certainty == "verified":
        assert re.search(r"/|CVE", row.source), "verified rows need an address"


def test_names_are_unique_in_each_table() -> None:
    for rows in (STEERING_HEADERS, SECOND_RESOURCE_HEADERS, OVERRIDE_HEADERS, OVERRIDE_PARAMETERS):
        names = [row.name for row in rows]
        assert len(set(names)) == len(names)


def test_the_tables_of_the_backends_page_match_the_code() -> None:
    page = PAGE.read_text()
    assert generated(page) == page, "run `python -m tests.header_tables`"


def test_each_preset_for_tenant_headers_is_valid() -> None:
    lines = re.findall(r"\| `(drop_headers = \[.*?\])` \|", PAGE.read_text().partition("## Tenant headers")[2])
    assert len(lines) > 20
    for line in lines:
        entries = tomllib.loads(line)["drop_headers"]
        drop = DropHeaders(entries)
        for entry in entries:
            assert drop.covers(fold_name(entry.replace("*", "x").encode()))
            assert forwarded(entry.replace("*", "x").encode(), SPELLINGS, trusted=False), (
                "it is dropped without an entry"
            )
