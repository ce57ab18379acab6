"""Monitoring services and their agents: uptime checks, errors, metrics, health checks, feeds, low-code clients."""

from dataclasses import replace

from tests.traffic.shape import FORM, Shape, family

UPTIME = [
    *family(
        "UptimeRobot v3",
        "uptimerobot/terraform-provider-uptimerobot internal/client/ (monitors, maintenance windows)",
        ("path:/monitors/{site}", "path:/monitors/{site}/**"),
        ["/monitors/71234", "POST /monitors/71234/pause", "PATCH /monitors/71234", "DELETE /monitors/71234"],
        sites=("71234",),
        lines=("Authorization: Bearer <key>", "Accept: application/json"),
    ),
    *family(
        "UptimeRobot v2",
        "https://uptimerobot.com/api/ (getMonitors, monitors=15830-32696-83920)",
        ({"query": "monitors", "separator": "-"},),
        [("POST /v2/getMonitors?monitors=15830-32696&logs=1&format=json", "Content-Type: application/json")],
        sites=("15830", "32696"),
        lines=("Cache-Control: no-cache",),
    ),
    *family(
        "Pingdom 3.1",
        "russellcardullo/go-pingdom pingdom/check.go, results.go, summary_performance.go",
        ("path:/api/3.1/checks/{site}", "path:/api/3.1/results/{site}", "path:/api/3.1/summary.performance/{site}"),
        [
            "/api/3.1/checks/85975?include_teams=true",
            "/api/3.1/results/85975?from=1497520800&to=1497574800&status=down,unconfirmed&limit=100&offset=0",
            "/api/3.1/summary.performance/85975?resolution=week&includeuptime=true",
            ("PUT /api/3.1/checks/85975", FORM),
            "DELETE /api/3.1/checks/85975",
        ],
        sites=("85975",),
        lines=("Authorization: Bearer <key>",),
    ),
    *family(
        "Checkly",
        "checkly/checkly-cli packages/cli/src/rest/ (analytics, check-results, checks)",
        ("path:/v1/checks/{site}", "path:/v1/analytics/url-monitors/{site}", "path:/v2/check-results/{site}"),
        [
            "/v1/checks/9a4371a1-fec0",
            "/v1/analytics/url-monitors/9a4371a1-fec0?quickRange=last24Hours&metrics=availability,responseTime_avg",
            "/v2/check-results/9a4371a1-fec0?limit=10&fields=id,startedAt,responseTime&hasFailures=true",
        ],
        sites=("9a4371a1-fec0",),
        lines=("Authorization: Bearer <key>", "x-checkly-account: 7d1f"),
    ),
    *family(
        "StatusCake",
        "https://developers.statuscake.com/api/ (GET /uptime/{test_id}/history, /pagespeed/{test_id}/history)",
        ("path:/v1/uptime/{site}/**", "path:/v1/uptime/{site}", "path:/v1/pagespeed/{site}/**"),
        [
            "/v1/uptime/4242/history?limit=25&before=1763920800&after=1763910000",
            "/v1/uptime/4242/periods?limit=100",
            "/v1/pagespeed/4242/history",
            ("PUT /v1/uptime/4242", FORM),
        ],
        sites=("4242",),
        lines=("Authorization: Bearer <key>",),
    ),
    *family(
        "Zabbix",
        "lukecyca/pyzabbix pyzabbix/api.py (api_jsonrpc.php)",
        ("path:/{site}/api_jsonrpc.php",),
        [("POST /shop/api_jsonrpc.php", "Content-Type: application/json-rpc")],
        lines=("User-Agent: python/pyzabbix", "Cache-Control: no-cache"),
    ),
    *family(
        "PRTG",
        "https://www.paessler.com/manuals/prtg/live_multiple_object_property_status (table.xml, filters, columns)",
        ("query:id", "query:filter_parentid"),
        [
            "/api/table.json?id=42&content=sensors&columns=objid,group,device,sensor,status,message,lastvalue,priority",
            "/api/table.xml?content=messages&columns=objid,datetime,parent,type,name,status,message&id=42&count=50",
            "/api/table.csv?content=sensors&filter_parentid=42&filter_status=5&filter_name=@sub(a,b)&sortby=-lastvalue",
            "/api/historicdata.csv?id=42&avg=0&sdate=2026-01-20-00-00-00&edate=2026-01-21-00-00-00",
        ],
        sites=("42",),
    ),
]

ERRORS = [
    *family(
        "Sentry",
        "getsentry/sentry-cli tests/integration/_cases and src/api (paths and cursors)",
        ("path:/api/0/projects/acme/{site}/**",),
        [
            "/api/0/projects/acme/shop/issues/?query=is:resolved&cursor=",
            "/api/0/projects/acme/shop/issues/?query=is%3Aunresolved+assigned%3Ame&statsPeriod=14d&cursor=1574700:0:0",
            "/api/0/projects/acme/shop/events/?cursor=",
            "POST /api/0/projects/acme/shop/files/difs/assemble/",
            ("POST /api/0/projects/acme/shop/releases/", "Content-Type: application/json"),
        ],
        lines=("User-Agent: sentry-cli/2.58.0", "Authorization: Bearer <key>"),
    ),
    *family(
        "Sentry, events of an organization",
        "getsentry/sentry-cli tests/integration/_cases/logs (events endpoint)",
        ("query:project",),
        [
            (
                "/api/0/organizations/acme/events/?dataset=logs&field=sentry.item_id&field=trace&field=severity&project=42"
                "&per_page=100&statsPeriod=90d&sort=-timestamp"
            ),
        ],
        sites=("42",),
    ),
    *family(
        "Sentry, envelopes",
        "getsentry/sentry-python sentry_sdk/transport.py and tests/test_transport.py",
        ("path:/api/{site}/envelope/",),
        [("POST /api/42/envelope/", "Content-Type: application/x-sentry-envelope", "Content-Encoding: gzip")],
        sites=("42",),
        lines=(
            "User-Agent: sentry.python/2.45.0",
            "X-Sentry-Auth: Sentry sentry_key=mysecret, sentry_version=7, sentry_client=sentry.python/2.45.0",
        ),
    ),
]

METRICS = [
    *family(
        "Datadog",
        "DataDog/datadog-api-client-python tests/v1 and tests/v2 cassettes (uri) and configuration.py",
        ("header:X-Site",),
        [
            "/api/v1/usage/cws?start_hr=2023-09-20T19%3A19%3A28.364Z&end_hr=2023-09-22T19%3A19%3A28.364Z",
            "/api/v2/catalog/relation?page%5Blimit%5D=20&page%5Boffset%5D=2040",
            (
                "/api/v2/usage/hourly_usage?filter%5Btimestamp%5D%5Bstart%5D=2022-07-16T14%3A57%3A41.335Z"
                "&filter%5Bproduct_families%5D=infra_hosts"
            ),
            "/api/v1/query?from=1763910000&to=1763920800&query=avg%3Asystem.cpu.idle%7B%2A%7Dby%7Bhost%7D",
            "/api/v2/on-call/teams/5f48616e/routing-rules?include=rules",
            ("POST /api/v2/series", "Content-Encoding: deflate"),
        ],
        lines=("X-Site: shop", "DD-APPLICATION-KEY: 00", "User-Agent: datadog-api-client-python/2.47.0"),
    ),
    *family(
        "Datadog, DD-API-KEY as the key",
        "DataDog/datadog-api-client-python src/datadog_api_client/configuration.py (apiKeyAuth)",
        ("header:X-Site",),
        [("/api/v1/validate", "DD-API-KEY: <key>"), ("POST /api/v2/logs?ddtags=env%3Aprod", "DD-API-KEY: <key>")],
        lines=("X-Site: shop",),
        keys_from=("header:DD-API-KEY",),
    ),
    *family(
        "New Relic",
        "newrelic/newrelic-client-go pkg/apm and pkg/alerts (paths, names[], filter[…]) and pkg/config (Api-Key)",
        ("path:/v2/applications/{site}.json", "path:/v2/applications/{site}/**"),
        [
            "/v2/applications/42.json",
            "/v2/applications/42/metrics/data.json?names[]=HttpDispatcher&values[]=call_count&summarize=true",
            "/v2/applications/42/metrics/data.json?names%5B%5D=Apdex&from=2026-01-01T00%3A00%3A00%2B00%3A00",
            "/v2/applications/42/instances/7.json?filter[entity_type]=Application&exclude_violations=true",
        ],
        sites=("42",),
        lines=("Api-Key: <key>", "Accept: application/json"),
        keys_from=("header:Api-Key",),
    ),
]

HEALTH = [
    *(
        replace(shape, keyless=True)
        for shape in family(
            "health checks of a public path",
            "https://kubernetes.io/docs/reference/using-api/health-checks/ and https://www.haproxy.com/documentation/"
            "haproxy-configuration-tutorials/reliability/health-checks/",
            ("path:/{site}/**",),
            [
                ("/healthz", "User-Agent: kube-probe/1.34", "Accept: */*", "Connection: close"),
                ("/healthz?verbose=1", "User-Agent: ELB-HealthChecker/2.0", "Accept-Encoding: gzip"),
                ("/healthz?t=1763920800", "User-Agent: GoogleHC/1.0", "Connection: Keep-alive"),
            ],
            sites=(),
            public=("GET /healthz",),
        )
    ),
    *family(
        "health checks with a key",
        "https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/ and "
        "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html",
        ("path:/{site}/healthz",),
        [
            ("/shop/healthz", "User-Agent: kube-probe/1.34", "Accept: */*", "Connection: close"),
            ("/shop/healthz?verbose&exclude=etcd", "User-Agent: ELB-HealthChecker/2.0", "Accept-Encoding: gzip"),
            ("HEAD /shop/healthz", "User-Agent: Better Stack Better Uptime Bot Mozilla/5.0"),
        ],
    ),
]

FEEDS = [
    *family(
        "OpenSearch descriptions and feeds",
        "https://github.com/dewitt/opensearch/blob/master/opensearch-1-1-draft-6.md (URL templates) and RFC 4287",
        ("query:site",),
        [
            "/search/?q=New%20York%20history&pw=3&format=rss&site=shop",
            "/search?site=shop&q=a&startIndex=21&count=20&language=*&inputEncoding=UTF-8&outputEncoding=UTF-8",
            ("/feed.atom?site=shop&since=2026-11-23T18:00:00Z", "Accept: application/atom+xml", "A-IM: feed"),
        ],
    ),
]

TOOLS = [
    *family(
        "Postman",
        "https://manil.net/api-http-headers/ (an echo of its request) and postmanlabs/postman-runtime lib/requester",
        ("path:/api/sites/{site}/**",),
        ["/api/sites/shop/visits?period=day", "POST /api/sites/shop/events"],
        lines=(
            "User-Agent: PostmanRuntime/7.49.1",
            "Accept: */*",
            "Cache-Control: no-cache",
            "Postman-Token: acc19e6d-fdb8-4722-aea5-042408d96330",
            "Accept-Encoding: gzip, deflate, br",
            "Connection: keep-alive",
        ),
    ),
    *family(
        "Google Apps Script",
        "https://developers.google.com/apps-script/reference/url-fetch (default user agent)",
        ("path:/api/sites/{site}/**",),
        ["/api/sites/shop/visits?period=day&date=last30"],
        lines=(
            "User-Agent: Mozilla/5.0 (compatible; Google-Apps-Script; beanserver; +https://script.google.com; id: X)",
            "Accept-Encoding: gzip,deflate,br",
        ),
    ),
    *family(
        "PowerShell",
        "https://learn.microsoft.com/powershell/module/microsoft.powershell.utility/invoke-webrequest (-UserAgent)",
        ("path:/api/sites/{site}/**",),
        ["/api/sites/shop/visits?from=2026-11-23T00:00:00&top=5", "PUT /api/sites/shop/settings"],
        lines=("User-Agent: Mozilla/5.0 (Windows NT 10.0; Microsoft Windows 10.0.15063; en-US) PowerShell/6.0.0",),
    ),
    *family(
        "Power Query, Web.Contents",
        "MicrosoftDocs/powerquery-docs powerquery-docs/handling-paging.md and samples (Query, Headers, ApiKeyName)",
        ("query:site",),
        [
            ("/api/data?site=shop&param=1&param2=hello", "Accept: application/json"),
            ("/api/data?site=shop&%24skip=200&%24top=100", "Accept: application/json;odata.metadata=minimal"),
        ],
    ),
    *family(
        "webhooks and HTTP steps of automation services",
        "https://docs.n8n.io/integrations/builtin/core-nodes/n8n-nodes-base.httprequest/, "
        "https://help.make.com/http and https://docs.zapier.com/platform/build/action (form, JSON, raw bodies)",
        ("path:/api/sites/{site}/**",),
        [
            ("POST /api/sites/shop/rows", "User-Agent: Zapier", "Accept: application/json"),
            ("POST /api/sites/shop/rows?batch=1", FORM, "User-Agent: Make/production"),
            ("/api/sites/shop/rows?page=2&limit=50", "User-Agent: n8n", "accept: application/json,text/html,*/*"),
        ],
    ),
]

SHAPES: list[Shape] = [*UPTIME, *ERRORS, *METRICS, *HEALTH, *FEEDS, *TOOLS]
