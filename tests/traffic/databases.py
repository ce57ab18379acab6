"""Databases over HTTP, IoT platforms, and the HTTP clients of languages and tools that other files lack."""

from tests.traffic.shape import JSON, Shape, family

SQL = [
    *family(
        "ClickHouse",
        (
            "ClickHouse/clickhouse-connect clickhouse_connect/driver/httpclient.py and https://clickhouse"
            ".com/docs/interfaces/http"
        ),
        ({"query": "database", "paths": ["/"]},),
        [
            "/?database=shop&query=SELECT%201%20FORMAT%20JSONEachRow&max_result_bytes=4000000&buffer_size=3000000",
            "/?query=SELECT+*+FROM+t+WHERE+a%3D%7Ba%3AString%7D&param_a=x%26y&database=shop&wait_end_of_query=1",
            (
                "/?database=shop&session_id=9a4371a1&session_timeout=60&default_format=TabSeparatedWithNa"
                "mes&add_http_cors_header=1"
            ),
            (
                "POST /?database=shop&query=INSERT%20INTO%20t%20FORMAT%20CSV",
                "Content-Encoding: gzip",
                "Content-Type: text/csv",
            ),
        ],
        lines=("X-ClickHouse-User: default", "User-Agent: clickhouse-connect/0.8.0 (lv:py/3.11.7; os:linux)"),
    ),
    *family(
        "QuestDB",
        "https://questdb.com/docs/reference/api/rest/",
        ("path:/{site}/**",),
        [
            (
                "/shop/exec?query=select%20x,timestamp_sequence(0,10000)%20from%20long_sequence(5);&limit"
                "=0,2&count=true&nm=true"
            ),
            "/shop/exp?query=trades%20LATEST%20ON%20timestamp%20PARTITION%20BY%20symbol&fmt=parquet",
        ],
    ),
    *family(
        "Druid and Trino",
        "https://druid.apache.org/docs/latest/api-reference/sql-api/ and trinodb/trino-python-client trino/client.py",
        ("path:/{site}/**",),
        [
            ("POST /shop/druid/v2/sql", JSON, "Accept: application/json"),
            (
                "POST /shop/v1/statement",
                "Content-Type: text/plain;charset=utf-8",
                "X-Trino-Source: trino-python-client",
            ),
            "/shop/v1/statement/executing/20260101_000000_00001_abcde/y0a7b5/1",
        ],
    ),
]

TIME_SERIES = [
    *family(
        "OpenTSDB",
        "https://opentsdb.net/docs/build/html/api_http/query/index.html",
        ("path:/{site}/api/**",),
        [
            "/shop/api/query?start=1h-ago&m=sum:rate:proc.stat.cpu{host=foo,type=idle}",
            (
                "/shop/api/query?start=1h-ago&m=avg:1m-avg-none:sys.if.in%7Bhost%3Dliteral_or%28a%7Cb%29"
                "%7D%7Biface%3D%2A%7D&arrays=true"
            ),
            "/shop/api/query?start=2026/01/01-00:00:00&end=1356998700&tsuids=sum:000001000002000042,000001000002000043",
            "/shop/api/search/lookup?m=tsd.hbase.rpcs%7Btype=*%7D&limit=1",
            "/shop/api/suggest?type=metrics&q=sys&max=10",
            ("POST /shop/api/put?summary&details&sync_timeout=60000", JSON),
        ],
    ),
    *family(
        "Prometheus remote read",
        (
            "prometheus/prometheus storage/remote/client.go (Content-Encoding, Accept-Encoding, "
            "X-Prometheus-Remote-Read-Version)"
        ),
        ("header:X-Scope-OrgID",),
        [
            (
                "POST /prometheus/api/v1/read",
                "X-Scope-OrgID: shop",
                "Content-Encoding: snappy",
                "Accept-Encoding: snappy",
                "Content-Type: application/x-protobuf",
                "X-Prometheus-Remote-Read-Version: 0.1.0",
                "User-Agent: Prometheus/3.5.0",
            )
        ],
    ),
    *family(
        "Graphite, functions and tags",
        "graphite-project/graphite-web docs/render_api.rst, docs/tags.rst, docs/functions.rst",
        ("path:/{site}/**",),
        [
            (
                "/shop/render?target=alias(summarize(seriesByTag('name=~^disk\\.','server!=web01'),'1h','sum'),'a%20b')&format=json"
                "&from=-1d&until=now".replace("\\", "%5C")
            ),
            (
                "/shop/render?target=scale(carbon.agents.*.{cpu,mem}Usage,0.5)&width=500&from=00%3A00_202"
                "60101&noNullPoints=true"
            ),
            "/shop/metrics/find?query=*.cpu[0-9].{user,system}&format=treejson",
            "/shop/tags/autoComplete/values?expr=server%3D~web&tag=rack&valuePrefix=a&limit=100",
        ],
    ),
    *family(
        "ThingsBoard and FIWARE",
        "https://thingsboard.io/docs/user-guide/telemetry/ and telefonicaid/fiware-orion doc/manuals/orion-api.md",
        ("path:/api/plugins/telemetry/DEVICE/{site}/**", {"header": "Fiware-Service", "paths": ["/v2/entities"]}),
        [
            (
                "/api/plugins/telemetry/DEVICE/shop/values/timeseries?keys=gas,temperature&startTs=147973"
                "5870785&interval=60000&agg=AVG"
            ),
            (
                "DELETE /api/plugins/telemetry/DEVICE/shop/timeseries/delete?keys=a&deleteAllDataForKeys="
                "false&rewriteLatestIfDeleted=true"
            ),
            (
                (
                    "/v2/entities?q=temperature%3C24;humidity==75..90;status!=open&mq=temperature.accurac"
                    "y%3C0.9&options=count,keyValues"
                ),
                "Fiware-Service: shop",
                "Fiware-ServicePath: /Madrid/Gardens/#, /Bilbao",
            ),
            (
                "/v2/entities?georel=near;minDistance:5000&geometry=point&coords=-40.4,-3.5&attrs=*,dateModified",
                "Fiware-Service: shop",
            ),
        ],
    ),
    *family(
        "Grafana Infinity and JSON data sources",
        (
            "grafana/grafana-infinity-datasource docs/sources/query (URL, params) and simPod/GrafanaJsonD"
            "atasource README.md"
        ),
        ("path:/{site}/**",),
        [
            "/shop/data.json?from=1763920800000&to=1763924400000&host=%7Ba%2Cb%7D&__interval_ms=60000",
            (
                "POST /shop/query",
                JSON,
                "X-Grafana-Org-Id: 1",
                "X-Panel-Id: 2",
                "X-Dashboard-Uid: abc",
                "X-Datasource-Uid: d-1",
            ),
            ("/shop/api/ds?var-host=All&var-env=a&var-env=b", "User-Agent: Grafana/12.1.0", "X-Grafana-User: ada"),
        ],
    ),
]

SEARCH = [
    *family(
        "Algolia, Meilisearch and Typesense",
        (
            "https://www.algolia.com/doc/rest-api/search/, https://www.meilisearch.com/docs/reference/api/search, "
            "typesense/typesense-python src/typesense/documents.py"
        ),
        (
            "path:/1/indexes/{site}/**",
            "path:/indexes/{site}/**",
            "path:/collections/{site}/**",
            "path:/1/indexes/{site}",
        ),
        [
            (
                "/1/indexes/shop?query=jimmie%20paint&facetFilters=%5B%5B%22a%3Ab%22%5D%5D&x-algolia-agen"
                "t=Algolia%20for%20JavaScript%20(5.0)"
            ),
            (
                "POST /1/indexes/shop/query",
                "X-Algolia-Application-Id: A",
                "Content-Type: text/plain",
            ),
            "/indexes/shop/search?q=a&filter=genres%20%3D%20action%20AND%20(rating%20%3E%204)&attributesToHighlight=*",
            (
                "/collections/shop/documents/search?q=stark&query_by=company&filter_by=num:>100%20%26%26"
                "%20country:[US,%20`a,b`]"
            ),
            "/collections/shop/documents/export?filter_by=id:!=x&include_fields=id,$orders(strategy:nest)",
        ],
    ),
    *family(
        "SPARQL",
        "https://www.w3.org/TR/sparql11-protocol/#query-operation and RDFLib/sparqlwrapper SPARQLWrapper/Wrapper.py",
        ("path:/{site}/sparql",),
        [
            (
                "/shop/sparql?query=PREFIX%20a%3A%20%3Chttp%3A//x.example/%23%3E%20SELECT%20%3Fs%20WHERE%20%7B%3Fs%20a%3Ap%20%22x%22%40de%7D"
                "&format=json&output=json&results=json"
            ),
            (
                "/shop/sparql?default-graph-uri=http%3A%2F%2Fx.example%2Fg&query=ASK+%7B%3Fs+%3Fp+%3Fo%7D"
                "&timeout=0&debug=on"
            ),
            ("POST /shop/sparql", "Content-Type: application/sparql-query", "Accept: application/sparql-results+json"),
        ],
    ),
]

CLIENTS = [
    *(
        shape
        for source, agent, rows in (
            (
                "r-lib/httr2 R/req-url.R (req_url_query with .multi)",
                "httr2/1.2.1 r-curl/6.4.0 libcurl/8.14.1",
                ["/api/sites/shop/x?a=1&b=a%2Cb&c=x%7Cy", "/api/sites/shop/x?since=2026-01-01T00%3A00%3A00Z&empty="],
            ),
            (
                "go-resty/resty README.md (SetQueryParamsFromValues)",
                "go-resty/2.16.5 (https://github.com/go-resty/resty)",
                ["/api/sites/shop/x?limit=20&order=asc&random=1479735870785&search=a+b&status=pending&status=approved"],
            ),
            (
                (
                    "square/retrofit retrofit/src/main/java/retrofit2/http/QueryMap.java, Path.java and s"
                    "quare/okhttp docs/features"
                ),
                "okhttp/4.12.0",
                ["/api/sites/shop/x%20y/z?sort=desc&filter=a%26b", "/api/sites/shop/x?a&b=%C3%A9"],
            ),
            (
                "axios/axios README.md (paramsSerializer: indexes) and lib/helpers/buildURL.js",
                "axios/1.13.2",
                [
                    "/api/sites/shop/x?ids[]=1&ids[]=2&user[name]=a:b&date=2026-01-01T00:00:00.000Z&q=$a,b+c",
                    "/api/sites/shop/x?ids=1&ids=2&ids[0][a]=1",
                ],
            ),
            (
                "lostisland/faraday lib/faraday/encoders/nested_params_encoder.rb and flat_params_encoder.rb",
                "Faraday v2.13.4",
                ["/api/sites/shop/x?a%5B%5D=1&a%5B%5D=2&b%5Bc%5D=d&e", "/api/sites/shop/x?a=1&a=2&b=x+y"],
            ),
            (
                "reactiveui/refit README.md (CollectionFormat, AliasAs)",
                ".NET HttpClient",
                [
                    "/api/sites/shop/x?ages=10%2C20%2C30&order.sort=desc&order.limit=10",
                    "/api/sites/shop/x?Ages=10%7C20&when=2026-01-01T00%3A00%3A00.0000000%2B02%3A00&flag=True",
                ],
            ),
            (
                "Kong/insomnia packages/insomnia/src/utils/url/querystring.ts",
                "insomnia/11.6.0",
                ["/api/sites/shop/x?name=a%20b&tag=%7B%7B%20tag%20%7D%7D&tag=2"],
            ),
            (
                "usebruno/bruno packages/bruno-common and docs (path params, query params)",
                "bruno-runtime/2.13.0",
                ["/api/sites/shop/x?filter=name eq 'a'".replace(" ", "%20") + "&limit=10"],
            ),
            (
                "grafana/k6 lib/netext/httpext/request.go (User-Agent, tags)",
                "Grafana k6/1.3.0 (https://k6.io/)",
                ["/api/sites/shop/x?__VU=1&__ITER=0&cache=1763920800000.5"],
            ),
            (
                (
                    "https://support.microsoft.com/en-us/office/webservice-function-0546a35a-ecc6-4739-ae"
                    "d7-c0b7ce1562c4 (Excel)"
                ),
                "Mozilla/4.0 (compatible; ms-office; MSOffice 16)",
                ["/api/sites/shop/x?metric=visits&day=2026-01-01&name=" + "Z%C3%BCrich%20%26%20Bern"],
            ),
            (
                (
                    "https://support.google.com/docs/answer/3093335 (IMPORTDATA) and https://developers.g"
                    "oogle.com/search/docs"
                ),
                "Mozilla/5.0 (compatible; GoogleDocs; apps-spreadsheets; +http://docs.google.com)",
                ["/api/sites/shop/x.csv?range=A1:B2&sheet=Sheet 1".replace(" ", "%20")],
            ),
            (
                "seanmonstar/reqwest src/async_impl/request.rs (query) and serde_urlencoded",
                "reqwest/0.12",
                ["/api/sites/shop/x?q=a+b%2Bc&list=1&list=2&unit="],
            ),
            (
                "ktorio/ktor ktor-http/common/src/io/ktor/http/Codecs.kt (encodeURLParameter)",
                "ktor-client",
                ["/api/sites/shop/x?q=a%20b%2Bc&t=12%3A30&p=%2Fa%2Fb"],
            ),
        )
        for shape in family(
            "a client: " + agent, source, ("path:/api/sites/{site}/**",), rows, lines=(f"User-Agent: {agent}",)
        )
    ),
]

SHAPES: list[Shape] = [*SQL, *TIME_SERIES, *SEARCH, *CLIENTS]
