"""Requests of browsers, and what intermediaries add: CORS, caches, tracing, CDNs, websockets, webhooks."""

from dataclasses import replace

from tests.traffic.shape import Shape, family

PATH = ("path:/api/sites/{site}/**",)
QUERY = ("query:site",)

CHROME = (
    "Connection: keep-alive",
    'sec-ch-ua: "Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99"',
    "sec-ch-ua-mobile: ?0",
    'sec-ch-ua-platform: "Linux"',
    "DNT: 1",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
)
CLIENT_HINTS = (
    'sec-ch-ua-full-version-list: "Chromium";v="142.0.7444.59", "Not_A Brand";v="99.0.0.0"',
    'sec-ch-ua-arch: "x86"',
    'sec-ch-ua-bitness: "64"',
    'sec-ch-ua-model: ""',
    'sec-ch-ua-platform-version: "6.1.0"',
    "sec-ch-prefers-color-scheme: dark",
    "Device-Memory: 8",
    "Downlink: 10",
    "ECT: 4g",
    "RTT: 50",
    "Save-Data: on",
    "Viewport-Width: 1280",
    "Sec-GPC: 1",
)
FETCH = ("Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Priority: u=1, i")

BROWSERS = [
    *family(
        "Chrome, fetch() from another origin",
        "https://wicg.github.io/ua-client-hints/ and https://w3c.github.io/webappsec-fetch-metadata/",
        PATH,
        [
            (
                "GET /api/sites/shop/visits?_=1763920800000",
                "Accept: */*",
                "Origin: https://app.example.com",
                "Referer: https://app.example.com/",
            ),
            (
                "POST /api/sites/shop/events",
                "Content-Type: application/json",
                "Accept: application/json",
                "Origin: https://app.example.com",
                "Referer: https://app.example.com/",
            ),
            (
                "GET /api/sites/shop/live",
                "Accept: text/event-stream",
                "Cache-Control: no-cache",
                "Last-Event-ID: 4f2b",
                "Origin: https://app.example.com",
            ),
            ("GET /api/sites/shop/chart.png", "Accept: image/avif,image/webp,image/apng,*/*;q=0.8", *CLIENT_HINTS),
        ],
        lines=(*CHROME, *FETCH),
    ),
    *family(
        "Chrome, navigation with cookies",
        "https://w3c.github.io/webappsec-fetch-metadata/ (navigate) and RFC 6265 §5.4",
        PATH,
        [
            (
                "GET /api/sites/shop/report.html",
                "Cache-Control: max-age=0",
                "Upgrade-Insecure-Requests: 1",
                "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
                "Sec-Fetch-Site: none",
                "Sec-Fetch-Mode: navigate",
                "Sec-Fetch-User: ?1",
                "Sec-Fetch-Dest: document",
                "Cookie: _ga=GA1.2.1033501218.1368477899; _pk_id.1.1fff=2f.1; theme=dark; consent=%7B%22a%22%3A1%7D",
                *CLIENT_HINTS,
            ),
        ],
        lines=CHROME,
    ),
    *family(
        "Firefox and Safari, fetch()",
        "https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers (Accept-Language, TE, Priority, Sec-GPC)",
        PATH,
        [
            (
                "GET /api/sites/shop/visits",
                "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
                "Accept: application/json",
                "Accept-Language: de,en-US;q=0.7,en;q=0.3",
                "Accept-Encoding: gzip, deflate, br, zstd",
                "Origin: https://app.example.com",
                "Connection: keep-alive",
                "TE: trailers",
                "Sec-GPC: 1",
            ),
            (
                "GET /api/sites/shop/pages",
                "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1",
                "Accept: */*",
                "Accept-Language: fr-FR,fr;q=0.9",
                "Origin: null",
            ),
        ],
        lines=FETCH,
    ),
]

PREFLIGHTS: list[Shape] = [
    *(
        replace(shape, keyless=True)
        for shape in family(
            "CORS: a preflight that the API answers",
            "https://fetch.spec.whatwg.org/#cors-preflight-fetch",
            PATH,
            [
                (
                    "OPTIONS /api/sites/shop/events",
                    "Access-Control-Request-Method: PUT",
                    "Access-Control-Request-Headers: content-type,x-api-key",
                ),
                ("OPTIONS /api/sites/shop/live", "Access-Control-Request-Method: GET", "Sec-Fetch-Mode: cors"),
            ],
            sites=(),
            lines=("Origin: https://app.example.com", "Accept: */*"),
            preflight="pass",
        )
    ),
    *family(
        "CORS: the request after its preflight",
        "https://fetch.spec.whatwg.org/#http-cors-protocol",
        QUERY,
        [
            ("GET /api/data?site=shop", "Origin: https://app.example.com"),
            ("PUT /api/data/7?site=shop", "Origin: https://app.example.com"),
            ("OPTIONS /api/data?site=shop", "Origin: https://app.example.com"),
        ],
    ),
]

CACHES = [
    *family(
        "conditional requests",
        "RFC 9110 §13.1",
        PATH,
        [
            ("GET /api/sites/shop/x", 'If-None-Match: "xyzzy", "r2d2xxxx", "c3piozzzz"'),
            ("GET /api/sites/shop/x?v=2", 'If-None-Match: W/"67ab43", "54ed21", W/"7892dd"'),
            ("PUT /api/sites/shop/x", 'If-Match: "xyzzy"'),
            ("PUT /api/sites/shop/new", "If-None-Match: *"),
            ("GET /api/sites/shop/y", "If-Modified-Since: Sat, 29 Oct 1994 19:43:31 GMT"),
            ("DELETE /api/sites/shop/y", "If-Unmodified-Since: Sat, 29 Oct 1994 19:43:31 GMT"),
        ],
    ),
    *family(
        "range requests",
        "RFC 9110 §14.2",
        PATH,
        [
            ("GET /api/sites/shop/export.csv", "Range: bytes=0-499"),
            ("GET /api/sites/shop/export.csv?part=2", "Range: bytes=-500"),
            ("GET /api/sites/shop/export.csv?part=3", "Range: bytes=500-600,601-999", 'If-Range: "67ab43"'),
            ("HEAD /api/sites/shop/export.csv", "Accept-Encoding: identity"),
            ("GET /api/sites/shop/visits", "Range: 0-24", "Range-Unit: items"),
        ],
    ),
    *family(
        "cache directives and content negotiation",
        "RFC 9111 §5.2.1 and RFC 9110 §12.5",
        PATH,
        [
            ("GET /api/sites/shop/a", "Cache-Control: no-cache, max-age=0", "Pragma: no-cache"),
            ("GET /api/sites/shop/b", "Accept: text/plain; q=0.5, text/html, text/x-dvi; q=0.8, text/x-c"),
            ("GET /api/sites/shop/c", "Accept: application/vnd.api+json; version=2", "Accept-Charset: utf-8"),
            ("GET /api/sites/shop/d", "Accept-Encoding: compress;q=0.5, gzip;q=1.0, *;q=0", "Accept-Language: da"),
            ("GET /api/sites/shop/e", "Max-Forwards: 10", "Via: 1.0 fred, 1.1 p.example.net (Apache/1.1)"),
        ],
    ),
]

TRACING = [
    *family(
        "W3C Trace Context and Baggage",
        "w3c/trace-context spec/20-http_request_header_format.md and https://www.w3.org/TR/baggage/",
        PATH,
        [
            (
                "GET /api/sites/shop/x",
                "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                "tracestate: congo=ucfJifl5GOE,rojo=00f067aa0ba902b7",
                "baggage: userId=alice,serverNode=DF%2028,isProduction=false;property1",
            ),
        ],
    ),
    *family(
        "B3 propagation",
        "openzipkin/b3-propagation README.md",
        PATH,
        [
            (
                "GET /api/sites/shop/x",
                "X-B3-TraceId: 80f198ee56343ba864fe8b2a57d3eff7",
                "X-B3-ParentSpanId: 05e3ac9a4f6e3b90",
                "X-B3-SpanId: e457b5a2e4d86bd1",
                "X-B3-Sampled: 1",
            ),
            (
                "GET /api/sites/shop/y",
                "b3: 80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90",
            ),
        ],
    ),
    *family(
        "tracing headers of clouds and vendors",
        "https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html, "
        "https://cloud.google.com/trace/docs/trace-context, getsentry/sentry-python sentry_sdk/consts.py",
        PATH,
        [
            (
                "GET /api/sites/shop/x",
                "X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
            ),
            ("GET /api/sites/shop/y", "X-Cloud-Trace-Context: 105445aa7843bc8bf206b12000100000/1;o=1"),
            (
                "GET /api/sites/shop/z",
                "sentry-trace: 771a43a4192642f0b136d5159a501700-7c51afd529da4a2a",
                "baggage: sentry-trace_id=771a43a4192642f0b136d5159a501700,sentry-environment=production",
            ),
            (
                "GET /api/sites/shop/dd",
                "x-datadog-trace-id: 1234567890123456789",
                "x-datadog-parent-id: 987654321",
                "x-datadog-sampling-priority: 1",
                "x-datadog-tags: _dd.p.dm=-0",
            ),
            ("GET /api/sites/shop/nr", "newrelic: eyJ2IjpbMCwxXSwiZCI6eyJ0eSI6IkFwcCJ9fQ=="),
            ("GET /api/sites/shop/az", "Request-Id: |a000b421-5d183ab6.1.", "x-ms-client-request-id: 9a4371a1"),
            ("GET /api/sites/shop/uber", "uber-trace-id: 3aa5b1c9f1a8:2b1c:0:1", "X-Correlation-ID: 9a4371a1-fec0"),
        ],
    ),
    *family(
        "headers of a CDN or load balancer in front",
        "https://developers.cloudflare.com/fundamentals/reference/http-headers/, "
        "https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/adding-cloudfront-headers.html, "
        "https://www.fastly.com/documentation/reference/http/http-headers/",
        PATH,
        [
            (
                "GET /api/sites/shop/x",
                "CF-Connecting-IP: 203.0.113.7",
                "CF-IPCountry: DE",
                "CF-Ray: 230b030023ae2822-SJC",
                'CF-Visitor: {"scheme":"https"}',
                "CDN-Loop: cloudflare; loops=1",
                "X-Forwarded-For: 203.0.113.7",
                "X-Forwarded-Proto: https",
            ),
            (
                "GET /api/sites/shop/y",
                "Via: 2.0 5a3b.cloudfront.net (CloudFront)",
                "X-Amz-Cf-Id: 9a4371a1==",
                "CloudFront-Viewer-Country: US",
                "CloudFront-Is-Mobile-Viewer: false",
            ),
            (
                "GET /api/sites/shop/z",
                "Fastly-Client-IP: 203.0.113.7",
                "X-Varnish: 32770",
                "X-Forwarded-For: 203.0.113.7, 198.51.100.2",
                "X-Forwarded-Host: data.example",
                "X-Real-IP: 203.0.113.7",
                "Forwarded: for=203.0.113.7;proto=https",
                "X-Request-Id: 9a4371a1",
            ),
            (
                "GET /api/sites/shop/akamai",
                "Akamai-Origin-Hop: 2",
                "True-Client-IP: 203.0.113.7",
                "X-Akamai-Edgescape: georegion=246,country_code=US,region_code=CA",
                "Surrogate-Capability: akamai=ESI/1.0",
            ),
        ],
    ),
]

SOCKETS = [
    *family(
        "websocket handshakes",
        "python-websockets/websockets src/websockets/client.py (ClientProtocol.connect) and RFC 6455 §1.3",
        PATH,
        [
            ("GET /api/sites/shop/live", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"),
            (
                "GET /api/sites/shop/chat",
                "Origin: http://example.com",
                "Sec-WebSocket-Protocol: chat, superchat",
                "Pragma: no-cache",
            ),
            ("GET /api/sites/shop/socket.io/?EIO=4&transport=websocket&sid=lv_VI97HAXpY6yYWAAAC",),
        ],
        lines=(
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        ),
    ),
    *family(
        "server-sent events",
        "https://html.spec.whatwg.org/multipage/server-sent-events.html",
        QUERY,
        [
            ("GET /events?site=shop", "Accept: text/event-stream", "Cache-Control: no-store"),
            ("GET /events?site=shop&topics=a,b", "Accept: text/event-stream", "Last-Event-ID: 1763920800000-0"),
        ],
    ),
    *family(
        "the prior knowledge that HTTP/2 clients offer on HTTP/1.1",
        "RFC 7540 §3.2 (Upgrade: h2c, HTTP2-Settings), as Java's HttpClient sends it: openjdk/jdk "
        "src/java.net.http/share/classes/jdk/internal/net/http/Http1Request.java",
        PATH,
        ["GET /api/sites/shop/x"],
        lines=(
            "Connection: Upgrade, HTTP2-Settings",
            "Upgrade: h2c",
            "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
            "User-Agent: Java-http-client/21.0.5",
        ),
    ),
]

WEBHOOKS = [
    *family(
        "Standard Webhooks",
        "standard-webhooks/standard-webhooks spec/standard-webhooks.md",
        PATH,
        [
            (
                "POST /api/sites/shop/hook",
                "webhook-id: msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
                "webhook-timestamp: 1674087231",
                "webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
            ),
        ],
    ),
    *family(
        "webhooks of GitHub, Stripe and Slack",
        "https://docs.github.com/en/webhooks/webhook-events-and-payloads#delivery-headers, "
        "https://docs.stripe.com/webhooks#verify-official-libraries, "
        "https://docs.slack.dev/authentication/verifying-requests-from-slack",
        PATH,
        [
            (
                "POST /api/sites/shop/hooks/github",
                "User-Agent: GitHub-Hookshot/044aadd",
                "X-GitHub-Delivery: 72d3162e-cc78-11e3-81ab-4c9367dc0958",
                "X-GitHub-Event: issues",
                "X-Hub-Signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
            ),
            ("POST /api/sites/shop/hooks/stripe", "Stripe-Signature: t=1492774577,v1=5257a869e7,v0=6ffbb59b22"),
            (
                "POST /api/sites/shop/hooks/slack",
                "Content-Type: application/x-www-form-urlencoded",
                "X-Slack-Signature: v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
                "X-Slack-Request-Timestamp: 1531420618",
            ),
            (
                "POST /api/sites/shop/hooks/cloudevent",
                "ce-specversion: 1.0",
                "ce-type: com.example.someevent",
                "ce-source: /mycontext/4",
                "ce-id: A234-1234-1234",
            ),
        ],
    ),
]

SHAPES = [*BROWSERS, *PREFLIGHTS, *CACHES, *TRACING, *SOCKETS, *WEBHOOKS]
