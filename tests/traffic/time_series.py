"""Time series databases and dashboards: Prometheus and relatives, InfluxDB, Graphite, KairosDB, OTLP, Grafana."""

from tests.traffic.shape import FORM, Shape, family

TENANT = ("header:X-Scope-OrgID",)

PROMETHEUS = family(
    "Prometheus",
    "prometheus/prometheus docs/querying/api.md",
    ("path:/{site}/api/v1/**",),
    [
        "/shop/api/v1/query?query=up&time=2015-07-01T20:10:51.781Z",
        "/shop/api/v1/query_range?query=up&start=2015-07-01T20:10:30.781Z&end=2015-07-01T20:11:00.781Z&step=15s",
        "/shop/api/v1/format_query?query=foo/bar",
        "/shop/api/v1/series?match%5B%5D=up&match%5B%5D=process_start_time_seconds%7Bjob%3D%22prometheus%22%7D",
        "/shop/api/v1/series?match[]=up&match[]=process_start_time_seconds{job=%22prometheus%22}",
        "/shop/api/v1/labels?match[]=up",
        "/shop/api/v1/label/http_status_code/values",
        "/shop/api/v1/label/U__http_2e_status_code/values?limit=2",
        "/shop/api/v1/search/metric_names?search[]=http_req&sort_by=score&include_metadata=true&limit=5",
        (
            "/shop/api/v1/query_exemplars?query=test_exemplar_metric_total&start=2020-09-14T15:22:25.479Z"
            "&end=2020-09-14T15:23:25.479Z"
        ),
        "/shop/api/v1/targets?state=active",
        "/shop/api/v1/targets/metadata?match_target=%7Bjob%3D%22prometheus%22%7D&metric=go_goroutines",
        '/shop/api/v1/targets/relabel_steps?scrapePool=prometheus&labels={"__address__":"localhost:9090"}',
        "/shop/api/v1/rules?type=alert&rule_name[]=a&file[]=/etc/rules.yml",
        "/shop/api/v1/metadata?limit_per_metric=1&metric=http_requests_total",
        "/shop/api/v1/query?query=sum+by+%28job%29+%28rate%28http_requests_total%7Bcode%3D~%225..%22%7D%5B5m%5D%29%29",
        "/shop/api/v1/query?query=topk(3,%20sum%20by%20(app)%20(rate(instance_cpu_time_ns[5m])))",
        "/shop/api/v1/query?query=a+%3E+bool+b+%25+2+%5E+3+or+c+offset+-1w+%40+1609746000",
        "/shop/api/v1/notifications/live",
        ("POST /shop/api/v1/query", FORM),
        ("POST /shop/api/v1/query_range", FORM),
        (
            "POST /shop/api/v1/write",
            "Content-Type: application/x-protobuf",
            "Content-Encoding: snappy",
            "X-Prometheus-Remote-Write-Version: 0.1.0",
            "User-Agent: Prometheus/2.42.0",
        ),
        (
            "POST /shop/api/v1/read",
            "Content-Type: application/x-protobuf",
            "Content-Encoding: snappy",
            "X-Prometheus-Remote-Read-Version: 0.1.0",
        ),
    ],
)

FEDERATION = family(
    "Prometheus federation and scrapes",
    "prometheus/prometheus docs/federation.md and scrape/scrape.go (acceptHeader)",
    ("query:site",),
    [
        "/federate?match[]=%7Bjob%3D%22prometheus%22%7D&match[]=%7B__name__%3D~%22job%3A.%2A%22%7D&site=shop",
        (
            "/metrics?site=shop",
            "User-Agent: Prometheus/2.42.0",
            (
                "Accept: application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
                "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
            ),
            "Accept-Encoding: gzip",
            "X-Prometheus-Scrape-Timeout-Seconds: 10",
        ),
    ],
)

LOKI = [
    *family(
        "Loki",
        "grafana/loki docs/sources/reference/loki-http-api.md",
        TENANT,
        [
            "/loki/api/v1/query?query=sum%28rate%28%7Bjob%3D%22varlogs%22%7D%5B10m%5D%29%29+by+%28level%29",
            "/loki/api/v1/query_range?query=%7Bjob%3D%22varlogs%22%7D&step=300&direction=forward&limit=100",
            '/loki/api/v1/query_range?query={job="varlogs"}&limit=100',
            (
                "/loki/api/v1/query_range?query=%7Bapp%3D%22x%22%7D%20%7C%3D%20%22a%26b%22%20%7C%20json%20%7C%20"
                "line_format%20%22%7B%7B.msg%7D%7D%22"
            ),
            "/loki/api/v1/labels?end=1637740962079859431&start=1637740361925000000",
            "/loki/api/v1/label/foo/values?since=24h",
            "/loki/api/v1/series?match[]=%7Bcontainer_name%3D~%22prometheus.*%22%2C%20component%3D%22server%22%7D",
            "/loki/api/v1/index/stats?query=%7Bjob%3D%22foo%22%7D&start=1609459200000000000&end=1609462800000000000",
            "/loki/api/v1/patterns?query=%7Bapp%3D%22loki%22%7D",
            "/loki/api/v1/tail?query=%7Bjob%3D%22app%22%7D&delay_for=5",
            "/loki/api/v1/detected_field/level/values",
            "/prometheus/api/v1/rules?type=alert&file=&rule_group=x&rule_name=y",
            ("POST /loki/api/v1/push", "Content-Type: application/x-protobuf"),
            "POST /loki/api/v1/push",
            "DELETE /loki/api/v1/delete?request_id=9a4371a1",
            ("POST /loki/api/v1/rules/ns", "Content-Type: application/yaml"),
        ],
        lines=("X-Scope-OrgID: shop",),
    ),
    *family(
        "Loki, several tenants",
        "grafana/loki docs/sources/operations/multi-tenancy.md (tenants joined by |)",
        ({"header": "X-Scope-OrgID", "separator": "|"},),
        ["/loki/api/v1/query?query=%7Bapp%3D%22foo%22%7D"],
        sites=("shop", "42"),
        lines=("X-Scope-OrgID: shop|42",),
    ),
]

MIMIR = family(
    "Grafana Mimir",
    "https://grafana.com/docs/mimir/latest/references/http-api/",
    TENANT,
    [
        "/prometheus/api/v1/query?query=up",
        "/prometheus/api/v1/cardinality/label_names?selector=%7Benv%3D%22prod%22%7D",
        ("POST /api/v1/push", "Content-Type: application/x-protobuf", "Content-Encoding: snappy"),
        ("POST /otlp/v1/metrics", "Content-Type: application/x-protobuf"),
    ],
    lines=("X-Scope-OrgID: shop",),
)

VICTORIA = family(
    "VictoriaMetrics cluster",
    "VictoriaMetrics/VictoriaMetrics docs/victoriametrics/url-examples.md",
    ("path:/select/{site}/**", "path:/insert/{site}/**", "path:/delete/{site}/**"),
    [
        "/select/42/prometheus/api/v1/export?match[]=vm_http_request_errors_total",
        "/select/42/prometheus/api/v1/export/csv?format=__name__,__value__,__timestamp__:unix_s&match=vm_rows",
        "/select/42/prometheus/federate?match[]=%7B__name__%3D~%22job%3A.%2A%22%7D",
        "/select/42/prometheus/api/v1/status/tsdb?topN=5&date=2026-11-23",
        "/select/42/graphite/metrics/find?query=vm_http_request_errors_total",
        "/select/42/vmui/",
        "POST /insert/42/prometheus/api/v1/import",
        (
            "POST /insert/42/prometheus/api/v1/import/csv?format=2:metric:ask,3:metric:bid,1:label:ticker",
            "Content-Type: text/csv",
        ),
        ("POST /insert/42/prometheus/api/v1/import/prometheus?extra_label=foo=bar", "Content-Type: text/plain"),
        ("POST /insert/42/influx/write?db=db_name", "Content-Type: text/plain"),
        ("POST /insert/42/datadog/api/v2/series", "Content-Type: application/json"),
        ("POST /insert/42/opentelemetry/v1/metrics", "Content-Type: application/x-protobuf"),
        "POST /delete/42/prometheus/api/v1/admin/tsdb/delete_series?match[]=vm_http_request_errors_total",
    ],
    sites=("42",),
)

INFLUX_1 = [
    *family(
        "InfluxDB 1",
        "influxdata/docs-v2 content/influxdb/v1/guides/query_data.md and api-docs/influxdb/v1",
        ("query:db",),
        [
            "/query?db=shop&pretty=true&q=SHOW+MEASUREMENTS",
            "/query?db=shop&epoch=s&q=SELECT+%22value%22+FROM+%22cpu_load_short%22+WHERE+%22region%22%3D%27us-west%27",
            "/query?pretty=true&db=shop&q=SELECT%20%2Fl%2F%20FROM%20%22h2o_feet%22%20LIMIT%201",
            (
                "/query?db=shop&q=SELECT+MEAN%28value%29+as+average_cpu%2C+MAX%28value%29+as+peak_cpu+FROM+%22foo.load%22"
                "+WHERE+time+%3E%3D+now%28%29+-+1m+AND+org_id+%21%3D+%27%27+GROUP+BY+org_id%2Cgroup_id"
            ),
            "/query?db=shop&q=SELECT+*+FROM+%22mymeas%22%3BSELECT+mean%28%22x%22%29+FROM+%22mymeas%22",
            "/query?db=shop&chunked=true&chunk_size=20000&q=SELECT+%2A+FROM+cpu",
            "/query?db=shop&q=SELECT+%2A+FROM+cpu+WHERE+x%3D%24tag&params=%7B%22tag%22%3A%22a%22%7D",
            ("POST /write?db=shop&precision=ms", "Content-Type: text/plain; charset=utf-8"),
            ("POST /write?db=shop&rp=autogen&consistency=any", "Content-Type: text/plain", "Content-Encoding: gzip"),
            ("POST /api/v1/prom/write?db=shop", "Content-Type: application/x-protobuf", "Content-Encoding: snappy"),
            ("/query?db=shop&q=SHOW+SERIES", "Authorization: Basic dG9kZDppbmZsdXhkYjRldmVy"),
            ("/query?db=shop&q=SHOW+TAG+KEYS", "Authorization: Token todd:influxdb4ever"),
            ("/query?db=shop&q=SHOW+FIELD+KEYS", "Accept: application/csv"),
        ],
    ),
    *family(
        "InfluxDB 1, Telegraf",
        "influxdata/telegraf plugins/outputs/influxdb/http.go (makeWriteRequest)",
        ("query:db",),
        [("POST /write?consistency=any&db=shop&precision=ns", "Content-Type: text/plain; charset=utf-8")],
        lines=("User-Agent: Telegraf/1.36.3 Go/1.24.5", "Content-Encoding: gzip"),
    ),
    *family(
        "InfluxDB 1, curl --data-binary",
        "influxdata/docs-v2 content/influxdb/v1/guides/write_data.md (curl adds the form media type on its own)",
        ("query:db",),
        [("POST /write?db=shop", FORM, "User-Agent: curl/8.17.0")],
        form_body="pass",
    ),
]

INFLUX_2 = [
    *family(
        "InfluxDB 2",
        "influxdata/influxdb-client-python influxdb_client/service/, influxdata/docs-v2 content/influxdb/v2/",
        ("query:bucket",),
        [
            ("POST /api/v2/write?org=my-org&bucket=shop&precision=ns", "Content-Type: text/plain; charset=utf-8"),
            (
                "POST /api/v2/write?orgID=00oxo0oXx000x0Xo&bucket=shop&precision=s",
                "Content-Type: text/plain",
                "Content-Encoding: gzip",
                "Zap-Trace-Span: trace-id=1",
            ),
            "POST /api/v2/delete?org=my-org&bucket=shop",
            ("/query?db=NOAA&bucket=shop&q=SELECT+%2A+FROM+h2o", "Accept: application/csv"),
        ],
        lines=("Accept: application/json",),
    ),
]

INFLUX_3 = family(
    "InfluxDB 3",
    "influxdata/docs-v2 content/shared/influxdb3-write-guides/ and influxdb3-query-guides/",
    ("query:db",),
    [
        "/api/v3/query_sql?db=shop&q=SELECT+%2A+FROM+cpu+LIMIT+5&format=jsonl",
        "/api/v3/query_influxql?db=shop&q=SHOW%20MEASUREMENTS&format=csv",
        ("POST /api/v3/write_lp?db=shop&precision=auto&accept_partial=true&no_sync=true", "Content-Type: text/plain"),
        "POST /api/v3/configure/last_cache?db=shop&table=home&name=homeLastCache",
        "DELETE /api/v3/configure/table?db=shop&table=home",
    ],
)

GRAPHITE = [
    *family(
        "Graphite",
        "graphite-project/graphite-web docs/render_api.rst, docs/metrics_api.rst, docs/tags.rst",
        ("header:X-Site",),
        [
            "/render?target=app.numUsers&format=json",
            "/render?target=averageSeries(server.web*.load)&from=-12hours",
            "/render?target=server.web1.load&height=800&width=600",
            "/render?target=summarize(derivative(app.numUsers),%20%221min%22)&title=Users_per_minute",
            "/render/?target=events('exception')&format=json",
            (
                "/render?target=alias(sumSeries(a.*.b),%27total%27)&target=%7Ba,b%7D.count&from=04:00_20110501"
                "&until=16:00_20110501"
            ),
            "/render?target=seriesByTag('name=disk.used','server=~web.*')&format=csv",
            "/metrics/find?query=collectd.*",
            "/metrics/expand/?query=foo.*&query=bar.{a,b}&groupByExpr=0&leavesOnly=1",
            "/events/get_data?tags=deploy&from=-3hours&until=now",
            "/tags/autoComplete/tags?pretty=1&expr=datacenter=dc1&expr=server=web01",
            "/tags/autoComplete/values?pretty=1&tag=rack&valuePrefix=a",
            "/tags/findSeries?pretty=1&expr=datacenter=dc1&expr=server=web01",
            ("POST /render", FORM),
        ],
        lines=("X-Site: shop",),
    ),
    *family(
        "Graphite, the site as a node of the target",
        "graphite-project/graphite-web docs/render_api.rst (target)",
        ({"query": "target", "template": "sites.{site}.uptime"},),
        ["/render?target=sites.shop.uptime&from=-1d&format=json", "/render/?format=raw&target=sites.shop.uptime"],
    ),
]

KAIROS = family(
    "KairosDB",
    "kairosdb/kairosdb src/main/java/org/kairosdb/core/http/rest/MetricsResource.java and RollUpResource.java",
    ("path:/{site}/api/v1/**",),
    [
        "/shop/api/v1/metricnames?prefix=archi",
        "/shop/api/v1/datapoints/query?query=%7B%22start_relative%22%3A%7B%22value%22%3A%225%22%7D%7D",
        ("POST /shop/api/v1/datapoints", "Content-Type: application/gzip"),
        "POST /shop/api/v1/datapoints/query/tags",
        "DELETE /shop/api/v1/metric/archive_search",
        "/shop/api/v1/rollups/7b2893fc-7654-4764-851a-a311e854ee75",
        "/shop/api/v1/health/check",
    ],
)

OTLP = family(
    "OTLP/HTTP",
    "open-telemetry/opentelemetry-proto docs/specification.md",
    TENANT,
    [
        ("POST /v1/traces", "Content-Type: application/x-protobuf", "User-Agent: OTel-OTLP-Exporter-Python/1.38.0"),
        ("POST /v1/metrics", "Content-Type: application/x-protobuf", "Content-Encoding: gzip"),
        "POST /v1/logs",
    ],
    lines=("X-Scope-OrgID: shop",),
)

GRAFANA = [
    *family(
        "Grafana",
        "panodata/grafana-client grafana_client/elements/ and client.py (organization_id)",
        ("header:X-Grafana-Org-Id",),
        [
            "/api/search?query=Prod%20Overview&type=dash-db&tag=prod&starred=false&limit=100",
            "/api/dashboards/uid/cIBgcSjkk",
            "/api/datasources/uid/h8KkCLt7z/health",
            "/api/datasources/proxy/1/render?target=a.b&format=json",
            "/api/datasources/proxy/uid/h8KkCLt7z/api/v1/query_range?query=up&start=1&end=2&step=15",
            "/api/annotations?from=1506676478816&to=1507281278816&tags=tag1&tags=tag2&limit=100",
            "/api/plugins?embedded=0",
            "/api/serviceaccounts/1?accesscontrol=true",
            "/api/library-elements/name/My%20panel",
            "/api/ruler/grafana/api/v1/rules/My%20Folder/group",
            "POST /api/ds/query",
            "POST /api/dashboards/db",
            "DELETE /api/snapshots-delete/key",
        ],
        sites=("42",),
        lines=("X-Grafana-Org-Id: 42",),
    ),
    *family(
        "Grafana, the organization in the query",
        "https://grafana.com/docs/grafana/latest/setup-grafana/configure-security/ (orgId), dashboards as links",
        ("query:orgId",),
        [
            "/d/cIBgcSjkk/production-overview?orgId=42&from=now-6h&to=now&var-host=web01&var-host=web02&kiosk",
            "/render/d-solo/cIBgcSjkk/x?orgId=42&panelId=2&width=1000&height=500&tz=Europe%2FBerlin",
            "/explore?schemaVersion=1&panes=%7B%22a%22:%7B%22queries%22:%5B%7B%22expr%22:%22up%22%7D%5D%7D%7D&orgId=42",
        ],
        sites=("42",),
    ),
]

SHAPES: list[Shape] = [
    *PROMETHEUS,
    *FEDERATION,
    *LOKI,
    *MIMIR,
    *VICTORIA,
    *INFLUX_1,
    *INFLUX_2,
    *INFLUX_3,
    *GRAPHITE,
    *KAIROS,
    *OTLP,
    *GRAFANA,
]
