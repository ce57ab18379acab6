"""Large requests of real clients: many cookies, long tokens, many headers, and queries of up to 8 KB."""

import base64
import json
from urllib.parse import quote, urlencode

from tests.traffic.browsers import CHROME, CLIENT_HINTS, FETCH, PATH, QUERY
from tests.traffic.shape import Lines, Shape, family

_CONSENT = quote(json.dumps({"isGpcEnabled": 0, "datestamp": "Mon Nov 30 2026", "groups": "C0001:1,C0002:0,C0003:0"}))


def _base64(size: int) -> str:
    return base64.urlsafe_b64encode(bytes(number * 131 % 251 for number in range(size))).decode()


def _cookies(count: int) -> str:
    """Return a Cookie line in which every third cookie is JSON that is percent-encoded."""
    values = [_CONSENT if number % 3 == 0 else _base64(30) for number in range(count)]
    return "Cookie: " + "; ".join(f"_ck_{number}_{number * 7919}={value}" for number, value in enumerate(values))


def _token(size: int) -> str:
    return f"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.{_base64(size)}.{_base64(256)}"


_BEHIND_PROXIES: Lines = (
    "X-Forwarded-For: 203.0.113.7, 198.51.100.2",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Port: 443",
    "X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793",
    "X-Correlation-ID: 9a4371a1-fec0",
    "X-Cloud-Trace-Context: 105445aa7843bc8bf206b12000100000/1;o=1",
    "X-Datadog-Trace-Id: 1234567890123456789",
    "X-Datadog-Parent-Id: 987654321",
    "X-B3-TraceId: 80f198ee56343ba864fe8b2a57d3eff7",
    "X-B3-SpanId: e457b5a2e4d86bd1",
    "CF-Connecting-IP: 203.0.113.7",
    "CF-IPCountry: DE",
    "CF-Ray: 230b030023ae2822-SJC",
    'CF-Visitor: {"scheme":"https"}',
    "CDN-Loop: cloudflare; loops=1",
    "Via: 2.0 5a3b.cloudfront.net (CloudFront)",
    "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate: congo=ucfJifl5GOE,rojo=00f067aa0ba902b7",
)


def _table(columns: int) -> str:
    """Return the query that DataTables sends for a table with this many columns."""
    pairs = [("draw", "1")]
    for number in range(columns):
        for name, value in (
            ("[data]", f"column{number}"),
            ("[name]", ""),
            ("[searchable]", "true"),
            ("[orderable]", "true"),
            ("[search][value]", ""),
            ("[search][regex]", "false"),
        ):
            pairs.append((f"columns[{number}]{name}", value))
    pairs += [("order[0][column]", "0"), ("order[0][dir]", "asc"), ("start", "0"), ("length", "50")]
    return urlencode(pairs)


_CONDITIONS = json.dumps([{"field": f"field{n}", "op": "in", "values": ["a b", "c/d", n]} for n in range(72)])
_PROMQL = " or ".join(
    f'rate(http_requests_total{{job="job{number}",path!~"/api/.*"}}[5m]) > 0.5' for number in range(70)
)

SHAPES: list[Shape] = [
    *family(
        "browsers with many cookies, behind a CDN and a service mesh",
        "RFC 6265 §6.1 (at least 50 cookies per domain, of 4096 bytes) and https://web.dev/articles/user-agent-client-hints",
        PATH,
        [
            ("GET /api/sites/shop/report", _cookies(30)),
            ("GET /api/sites/shop/report?from=2026-01-01&to=2026-12-31", _cookies(50)),
            ("GET /api/sites/shop/live", _cookies(20), f"X-Id-Token: {_token(2400)}"),
        ],
        lines=(*CHROME, *CLIENT_HINTS, *FETCH, *_BEHIND_PROXIES),
    ),
    *family(
        "sessions in long tokens",
        "RFC 7519 and https://oauth2-proxy.github.io/oauth2-proxy/configuration/session_storage (cookies of 4 KB each)",
        QUERY,
        [
            (
                "GET /api/query?site=shop",
                f"Cookie: _oauth2_proxy_0={_token(2700)}; _oauth2_proxy_1={_token(2700)}; theme=dark",
                f"X-Forwarded-Access-Token: {_token(2400)}",
            ),
        ],
        lines=CHROME,
    ),
    *family(
        "queries of up to 8 KB",
        "https://datatables.net/manual/server-side, https://jsonapi.org/format/#fetching-filtering, "
        "https://prometheus.io/docs/prometheus/latest/querying/api/, and RFC 9110 §4.1 (URIs of at least 8000 octets)",
        QUERY,
        [
            f"GET /api/table?site=shop&{_table(20)}",
            f"GET /api/table?site=shop&{_table(30)}",
            f"GET /api/query?site=shop&filter={quote(_CONDITIONS)}"[:7900],
            f"GET /api/v1/query?site=shop&query={quote(_PROMQL, safe='')}"[:7900].rstrip("%25"),
            f"GET /api/items?site=shop&{'&'.join(f'id={number}' for number in range(700))}",
            f"GET /api/items?site=shop&{'&'.join(f'ids%5B%5D={number}' for number in range(250))}",
            f"GET /api/items?site=shop&{'&'.join(f'filter%5Btag{number}%5D%5B%5D=a%20b' for number in range(150))}",
        ],
        lines=(*CHROME, _cookies(12)),
    ),
    *family(
        "long paths",
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html (keys of up to 1024 bytes)",
        PATH,
        [
            f"GET /api/sites/shop/{quote('/'.join(f'folder name {number}' for number in range(50)))}",
            f"GET /api/sites/shop/{quote('документы/отчеты за ноябрь/' * 12)}report.pdf",
            f"GET /api/sites/shop/files/{quote('src/main/java/com/example/' * 8 + 'Main.java', safe='')}/raw",
        ],
        lines=(*CHROME, *FETCH, _cookies(20)),
    ),
]
"""Requests that are as large as those that clients send in practice. They pass with a margin (docs/decision.md)."""
