"""HTTP clients: their default headers, the output of their query encoders, and their request bodies."""

from tests.traffic.shape import FORM, Lines, Shape, family

PATH = ("path:/api/sites/{site}/**",)
QUERY = ("query:site",)
HEADER = ("header:X-Site",)


def _client(name: str, source: str, *lines: str) -> list[Shape]:
    """Return a client's plain requests: a GET that names its site in the path, and a POST of JSON."""
    rows = ["GET /api/sites/shop/visits?period=day&date=2026-11-23", "POST /api/sites/shop/events"]
    return family(name, source, PATH, rows, lines=lines)


def _encoder(name: str, source: str, *rows: str, lines: Lines = ()) -> list[Shape]:
    """Return how a client encodes lists, nested values, spaces and text outside ASCII in a query."""
    return family(name, source, QUERY, rows, lines=lines)


HEADERS = [
    *_client("curl", "curl/curl docs/cmdline-opts/user-agent.md", "User-Agent: curl/8.17.0", "Accept: */*"),
    *_client(
        "wget",
        "mirror/wget src/http.c (initialize_request)",
        "User-Agent: Wget/1.21.3",
        "Accept: */*",
        "Accept-Encoding: identity",
        "Connection: Keep-Alive",
    ),
    *_client(
        "requests",
        "psf/requests src/requests/utils.py (default_headers)",
        "User-Agent: python-requests/2.32.5",
        "Accept-Encoding: gzip, deflate",
        "Accept: */*",
        "Connection: keep-alive",
    ),
    *_client(
        "httpx",
        "encode/httpx httpx/_client.py (Client.headers)",
        "Accept: */*",
        "Accept-Encoding: gzip, deflate, br, zstd",
        "Connection: keep-alive",
        "User-Agent: python-httpx/0.28.1",
    ),
    *_client(
        "aiohttp",
        "aio-libs/aiohttp aiohttp/client_reqrep.py (DEFAULT_HEADERS)",
        "Accept: */*",
        "Accept-Encoding: gzip, deflate",
        "User-Agent: Python/3.11 aiohttp/3.14.0",
    ),
    *_client(
        "axios",
        "axios/axios lib/adapters/http.js and lib/defaults/index.js",
        "Accept: application/json, text/plain, */*",
        "User-Agent: axios/1.13.2",
        "Accept-Encoding: gzip, compress, deflate, br",
        "Connection: keep-alive",
    ),
    *_client(
        "Node.js fetch",
        "nodejs/undici lib/web/fetch/index.js (httpNetworkOrCacheFetch)",
        "connection: keep-alive",
        "accept: */*",
        "accept-language: *",
        "sec-fetch-mode: cors",
        "user-agent: node",
        "accept-encoding: gzip, deflate",
    ),
    *_client(
        "got",
        "sindresorhus/got source/core/options.ts",
        "user-agent: got (https://github.com/sindresorhus/got)",
        "accept: application/json",
        "accept-encoding: gzip, deflate, br",
    ),
    *_client(
        "OkHttp",
        "square/okhttp okhttp/src/commonJvmAndroid/kotlin/okhttp3/internal/http/BridgeInterceptor.kt",
        "Connection: Keep-Alive",
        "Accept-Encoding: gzip",
        "User-Agent: okhttp/5.3.0",
    ),
    *_client(
        "Apache HttpClient 5.4, which offers TLS by Upgrade",
        "apache/httpcomponents-client httpclient5/…/protocol/RequestUpgrade.java and ContentCompressionExec.java",
        "Accept-Encoding: gzip, x-gzip, deflate",
        "Upgrade: TLS/1.2",
        "Connection: Upgrade",
        "User-Agent: Apache-HttpClient/5.4 (Java/17)",
    ),
    *_client(
        "Guzzle",
        "guzzle/guzzle src/Client.php and src/Handler/CurlFactory.php",
        "User-Agent: GuzzleHttp/7",
    ),
    *_client("Faraday", "lostisland/faraday lib/faraday/connection.rb", "User-Agent: Faraday v2.14.0"),
    *_client(
        "Ruby Net::HTTP",
        "ruby/net-http lib/net/http/generic_request.rb",
        "Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3",
        "Accept: */*",
        "User-Agent: Ruby",
    ),
    *_client(
        "Net::HTTP behind an old proxy",
        "ruby/net-http lib/net/http.rb (begin_transport)",
        "Accept: */*",
        "Connection: Keep-Alive",
        "Proxy-Connection: Keep-Alive",
    ),
    *_client(
        "HTTPie",
        "httpie/cli httpie/client.py",
        "User-Agent: HTTPie/3.2.4",
        "Accept: application/json, */*;q=0.5",
        "Accept-Encoding: gzip, deflate",
        "Connection: keep-alive",
    ),
    *_client("k6", "grafana/k6-docs docs/sources (http.get, params.headers)", "User-Agent: k6"),
    *_client(
        "Zabbix's Python client",
        "lukecyca/pyzabbix pyzabbix/api.py",
        "Content-Type: application/json-rpc",
        "User-Agent: python/pyzabbix",
        "Cache-Control: no-cache",
    ),
]

ENCODERS = [
    *_encoder(
        "requests and urlencode",
        "psf/requests docs/user/quickstart.rst (Passing Parameters In URLs)",
        "/api/data?site=shop&key1=value1&key2=value2&key2=value3",
        "/api/data?site=shop&title=a+b%2Bc&symbols=%7E%21%40%24%25%26%2A",
        "/api/data?site=shop&q=caf%C3%A9+%E2%98%83&empty=",
    ),
    *_encoder(
        "httpx",
        "encode/httpx tests/models/test_url.py and tests/models/test_queryparams.py",
        "/api/data?site=shop&a=123&a=456&b=789",
        "/api/data?site=shop&a=&b=true&c=",
        "/api/data?site=shop&a=some+text&u=https%3A%2F%2Fexample.com%2F%3Fa%3D1%26b%3D2",
    ),
    *_encoder(
        "axios",
        "axios/axios lib/helpers/buildURL.js and tests of paramsSerializer",
        "/api/data?foo[]=bar&foo[]=baz&site=shop",
        "/api/data?site=shop&date=2026-11-23T18:00:00.000Z&filter=%7B%22a%22:1%7D",
        "/api/data?site=shop&q=:$,+",
        "/api/data?site=shop&foo[bar][baz]=1&foo[list][0]=a",
    ),
    *_encoder(
        "qs",
        "ljharb/qs README.md (stringify: indices, brackets, repeat, comma, dots)",
        "/api/data?site=shop&a%5B0%5D=b&a%5B1%5D=c",
        "/api/data?site=shop&a%5B%5D=b&a%5B%5D=c",
        "/api/data?site=shop&a=b&a=c&a=b,c",
        "/api/data?site=shop&a.b.c=d&a.b.e=f",
        "/api/data?site=shop&a=%E3%81%93%E3%82%93%E3%81%AB%E3%81%A1%E3%81%AF%EF%BC%81&a&b=",
        "/api/data?utf8=%E2%9C%93&site=shop",
    ),
    *_encoder(
        "Faraday's nested encoder",
        "lostisland/faraday lib/faraday/encoders/nested_params_encoder.rb",
        "/api/data?a%5Bb%5D%5B%5D=1&a%5Bb%5D%5B%5D=2&site=shop",
        "/api/data?flag&page=1&site=shop",
    ),
    *_encoder(
        "HTTParty",
        "jnunemaker/httparty lib/httparty/hash_conversions.rb",
        "/api/data?foo[bar][]=1&foo[bar][]=2&site=shop&name=Bob%20%26%20Ada",
    ),
    *_encoder(
        "Guzzle and http_build_query",
        "guzzle/guzzle docs/request-options.rst (query)",
        "/api/data?foo%5B0%5D=a&foo%5B1%5D=b&site=shop&baz=a%20b",
    ),
    *_encoder(
        "OkHttp's HttpUrl",
        "square/okhttp okhttp/src/commonJvmAndroid/kotlin/okhttp3/HttpUrl.kt (class documentation)",
        "/api/data?site=shop&q=polar%20bears&c=%7C&d=a%20b%2Bc",
    ),
    *_encoder(
        "Go url.Values",
        "golang/go src/net/url/example_test.go (ExampleValues)",
        "/api/data?friend=Jess&friend=Sarah&friend=Zoe&name=Ava&site=shop",
        lines=("User-Agent: Go-http-client/1.1", "Accept-Encoding: gzip"),
    ),
    *_encoder(
        "curl --data-urlencode",
        "curl/curl docs/cmdline-opts/data-urlencode.md and url-query.md",
        "/api/data?site=shop&name=Daniel%20Stenberg&moo=%26%2B%25",
        lines=("User-Agent: curl/8.17.0", "Accept: */*"),
    ),
    *_encoder(
        "Swagger UI",
        "OAI/OpenAPI-Specification versions/3.1.0.md (style: form, spaceDelimited, pipeDelimited, deepObject)",
        "/api/data?site=shop&color=blue,black,brown",
        "/api/data?site=shop&color=blue%20black%20brown",
        "/api/data?site=shop&color=blue%7Cblack%7Cbrown",
        "/api/data?site=shop&color[R]=100&color[G]=200&color[B]=150",
        "/api/data?site=shop&color%5BR%5D=100&color%5BG%5D=200",
    ),
]

BODIES = [
    *family(
        "bodies where the path names the site",
        "psf/requests docs/user/quickstart.rst (More complicated POST requests, multipart, streaming)",
        PATH,
        [
            ("POST /api/sites/shop/form", FORM),
            ("POST /api/sites/shop/files", "Content-Type: multipart/form-data; boundary=0f8b2c3d4e5f"),
            ("POST /api/sites/shop/stream", "Content-Type: application/octet-stream", "Transfer-Encoding: chunked"),
            ("PUT /api/sites/shop/report.csv", "Content-Type: text/csv; charset=utf-8", "Content-Encoding: gzip"),
            ("PATCH /api/sites/shop/settings", "Content-Type: application/merge-patch+json"),
            ("PATCH /api/sites/shop/settings/2", "Content-Type: application/json-patch+json"),
            ("POST /api/sites/shop/batch", "Content-Type: application/x-ndjson"),
            ("POST /api/sites/shop/rpc", "Content-Type: application/x-protobuf", "Content-Encoding: snappy"),
            ("POST /api/sites/shop/upload", "Expect: 100-continue", "Content-Length: 1048577"),
            ("DELETE /api/sites/shop/reports/7", "Content-Length: 0"),
        ],
    ),
    *family(
        "bodies where the query names the site",
        "RFC 9110 §8.3 (Content-Type) with the media types of RFC 8259, RFC 7464 and RFC 4180",
        QUERY,
        [
            "POST /api/events?site=shop",
            ("POST /api/events?site=shop&v=2", "Content-Type: application/json; charset=utf-8"),
            ("PUT /api/events/7?site=shop", "Content-Type: application/vnd.api+json"),
            ("POST /api/import?site=shop", "Content-Type: text/csv"),
            ("POST /api/import?site=shop&seq=1", "Content-Type: application/json-seq"),
            ("POST /api/import?site=shop&xml=1", "Content-Type: text/xml; charset=utf-8"),
        ],
    ),
    *family(
        "Authorization: Bearer",
        "RFC 6750 §2.1",
        PATH,
        ["GET /api/sites/shop/x", "DELETE /api/sites/shop/reports/8"],
        lines=("Authorization: Bearer <key>",),
    ),
    *family(
        "a second credential that the API itself checks",
        "RFC 7617 §2 and RFC 7616 §3.9 (Basic and Digest beside X-API-Key)",
        PATH,
        [
            ("GET /api/sites/shop/x", "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            (
                "GET /api/sites/shop/dir/index.html",
                (
                    'Authorization: Digest username="Mufasa", realm="http-auth@example.org", '
                    'uri="/api/sites/shop/dir/index.html", algorithm=MD5, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcC", '
                    'nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, '
                    'response="8ca523f5e9506fed4657c9700eebdbec", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
                ),
            ),
            ("GET /api/sites/shop/y", "Authorization: AWS4-HMAC-SHA256 Credential=AKIA/20130524/us-east-1/s3/aws4"),
        ],
    ),
    *family(
        "the site in a header",
        "RFC 9110 §5.5 (field values)",
        HEADER,
        ["GET /v1/uptime", "POST /v1/uptime", "GET /v1/uptime?site_name=blog&from=-1d"],
        lines=("X-Site: shop",),
    ),
]

SHAPES = [*HEADERS, *ENCODERS, *BODIES]
