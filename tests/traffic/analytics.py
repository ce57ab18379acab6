"""Web analytics: Matomo, Plausible, Umami, Google Analytics."""

from dataclasses import replace

from tests.traffic.shape import FORM, Shape, family

ID_SITE = ({"query": "idSite", "separator": ","},)

MATOMO = [
    *family(
        "Matomo reporting",
        "matomo-org/developer-documentation docs/5.x/reporting-api.md and reporting-api-metadata.md",
        ID_SITE,
        [
            "/index.php?module=API&method=UserCountry.getCity&format=json&idSite=42&period=day&date=yesterday&expanded=1",
            (
                "/index.php?module=API&method=API.getRowEvolution&idSite=42&period=day&date=2013-11-01,2013-11-25"
                "&apiModule=UserSettings&apiAction=getOS&label=Windows+7"
            ),
            (
                "/index.php?module=API&method=API.getMetadata&apiModule=UserCountry&apiAction=getCountry&format=xml"
                "&idSite=42&period=day&date=yesterday&expanded=1"
            ),
            (
                "/index.php?module=API&method=CustomVariables.getCustomVariables&idSite=42&period=month&date=yesterday"
                "&format=xml&flat=1"
            ),
            (
                "/index.php?module=API&method=ImageGraph.get&idSite=42&apiModule=DevicesDetection&apiAction=getOsVersions"
                "&graphType=pie&period=month&date=today&width=500&height=250&columns=nb_visits&colors=FFFF00,00FF00,FF0000"
            ),
            (
                "/index.php?module=API&method=VisitsSummary.get&idSite=42&period=range&date=2026-01-01,2026-01-31"
                "&segment=countryCode%3D%3DDE%3BbrowserCode%3D%3DFF&filter_limit=-1&format=json"
            ),
            (
                "/index.php?module=API&method=VisitsSummary.get&idSite=42&date=last10&period=day"
                "&segment=pageUrl%3D%40%252Fshop%252F,actions%3E5"
            ),
            (
                "/index.php?module=API&method=Live.getLastVisitsDetails&idSite=42&period=day&date=today"
                "&filter_sort_column=nb_visits&filter_pattern_recursive=.*logged.*&showColumns=nb_visits,label"
            ),
            "/index.php?module=CoreHome&action=index&idSite=42&period=day&date=yesterday",
            "/index.php?module=Widgetize&action=iframe&widget=1&moduleToWidgetize=Live&actionToWidgetize=widget&idSite=42",
            ("/index.php?module=API&method=VisitsSummary.get&idSite=42,7&period=day&date=today", ("42", "7")),
            ("/index.php?module=API&method=VisitsSummary.get&idSite=42%2C7&period=day&date=today", ("42", "7")),
        ],
        sites=("42",),
    ),
    *(
        replace(shape, every_site=True)
        for shape in family(
            "Matomo, all sites",
            "matomo-org/developer-documentation docs/5.x/reporting-api.md (idSite=all)",
            ({"query": "idSite", "separator": ",", "all": "all"},),
            ["/index.php?module=API&method=MultiSites.getAll&idSite=all&period=day&date=today&format=json"],
            sites=(),
            workspace="acme",
        )
    ),
    *(
        replace(shape, forwarded=shape.target.replace("&token_auth=<key>", ""))
        for shape in family(
            "Matomo, token_auth in the query as the key",
            "matomo-org/developer-documentation docs/5.x/reporting-api.md (token_auth)",
            ID_SITE,
            [
                "/index.php?module=API&method=VisitsSummary.get&idSite=42,7&period=day&token_auth=<key>&date=today",
                "/index.php?module=API&method=Actions.get&idSite=42,7&period=day&date=today&format=csv&token_auth=<key>",
            ],
            sites=("42", "7"),
            keys_from=("query:token_auth",),
        )
    ),
    *family(
        "Matomo, the token as the key",
        "matomo-org/developer-documentation docs/5.x/reporting-api.md (API authentication)",
        ID_SITE,
        [
            (
                "/index.php?module=API&method=Actions.getPageUrls&idSite=42&period=day&date=today&format=json",
                "Authorization: Bearer <key>",
            ),
        ],
        sites=("42",),
    ),
    *family(
        "Matomo tracking",
        "matomo-org/developer-documentation docs/5.x/tracking-api.md",
        ("query:idsite",),
        [
            "/matomo.php?idsite=42&rec=1&action_name=Bulk%20page%20view&url=https%3A%2F%2Fexample.org%2F%3Fa%3D1%26b%3D2",
            (
                "/matomo.php?_cvar=%7B%221%22%3A%5B%22OS%22%2C%22iphone%205.0%22%5D%7D&idsite=42&rand=351459&h=18&m=13&s=3"
                "&rec=1&apiv=1&cookie=1&urlref=https%3A%2F%2Fiphone.mobileapp.piwik.org&_id=af344a398df83874&res=320%C3%97480"
            ),
            "/matomo.php?idsite=42&rec=1&e_c=Videos&e_a=Play&e_n=A%20movie&e_v=3.5&ca=1&uadata=%7B%22brands%22%3A%5B%5D%7D",
            (
                "/matomo.php?idsite=42&rec=1&idgoal=0&ec_id=A1&revenue=9.90"
                "&ec_items=%5B%5B%22SKU%22%2C%22Name%22%2C%5B%22a%22%5D%2C9.9%2C1%5D%5D"
            ),
            "/matomo.php?ma_id=8C1gOQ9C&ma_ti=MediaName&ma_re=https%3A%2F%2Fplayer.example.org%2Fvideo%2F1&idsite=42&rec=1",
            "POST /matomo.php?idsite=42&rec=1",
        ],
        sites=("42",),
    ),
    *family(
        "Matomo, a form to a rule on the query",
        "matomo-org/developer-documentation docs/5.x/tracking-javascript-guide.md (setRequestMethod('POST'))",
        ("query:idsite",),
        [("POST /matomo.php?idsite=42", FORM)],
        sites=("42",),
        form_body="pass",
    ),
]

PLAUSIBLE = [
    *family(
        "Plausible statistics",
        "plausible/docs docs/stats-api-v1.md",
        ("query:site_id",),
        [
            "/api/v1/stats/aggregate?site_id=shop&period=6mo&metrics=visitors,pageviews,bounce_rate,visit_duration",
            "/api/v1/stats/aggregate?site_id=shop&period=6mo&filters=event:page%3D%3D%2Forder%2Fconfirmation",
            (
                "/api/v1/stats/breakdown?site_id=shop&period=6mo&property=event:props:method"
                "&filters=event:goal%3D%3DDownload"
            ),
            "/api/v1/stats/breakdown?site_id=shop&period=6mo&property=visit:source&metrics=visitors,bounce_rate&limit=5",
            "/api/v1/stats/timeseries?site_id=shop&period=6mo&filters=visit:source%3D%3DGoogle",
            "/api/v1/stats/timeseries?site_id=shop&period=custom&date=2021-01-01,2021-01-31&interval=month",
            "/api/v1/stats/realtime/visitors?site_id=shop",
            "/api/v1/stats/aggregate?site_id=shop&filters=event:page==/blog**;visit:country==DE|FR",
        ],
        lines=("Accept: application/json",),
    ),
    *family(
        "Plausible sites",
        "plausible/docs docs/sites-api.md",
        ("path:/api/v1/sites/{site}", {"query": "site_id"}),
        [
            "/api/v1/sites/shop",
            "PUT /api/v1/sites/shop",
            "DELETE /api/v1/sites/shop",
            "/api/v1/sites?site_id=shop&after=abc&limit=100",
        ],
    ),
    *family(
        "Plausible goals and guests",
        "plausible/docs docs/sites-api.md",
        ("query:site_id",),
        [
            "/api/v1/sites/goals?site_id=shop",
            "/api/v1/sites/custom-props?site_id=shop",
            "DELETE /api/v1/sites/goals/1?site_id=shop",
            "DELETE /api/v1/sites/guests/test@example.com?site_id=shop",
        ],
    ),
]

UMAMI = family(
    "Umami",
    "https://umami.is/docs/api/website-stats",
    ("path:/api/websites/{site}/**", "path:/api/websites/{site}"),
    [
        "/api/websites/shop/stats?startAt=1717383600000&endAt=1717988399999",
        "/api/websites/shop/pageviews?startAt=1&endAt=2&unit=day&timezone=Europe%2FBerlin",
        "/api/websites/shop/metrics?type=url&startAt=1&endAt=2&url=%2Fblog%2F%3Fa%3D1",
        "/api/websites/shop/active",
        "POST /api/websites/shop",
    ],
)

GOOGLE = [
    *family(
        "Google Analytics Data API",
        "https://developers.google.com/analytics/devguides/reporting/data/v1/rest (discovery: v1beta)",
        (
            "path:/v1beta/properties/{site}:runReport",
            "path:/v1beta/properties/{site}:batchRunReports",
            "path:/v1beta/properties/{site}/**",
        ),
        [
            ("POST /v1beta/properties/42:runReport?alt=json&prettyPrint=false", "X-Goog-User-Project: p"),
            "POST /v1beta/properties/42:batchRunReports",
            "/v1beta/properties/42/metadata?%24.xgafv=2&fields=metrics(apiName,uiName)",
        ],
        sites=("42",),
        lines=("x-goog-api-client: gl-python/3.11.2 grpc/1.76.0 gax/2.28.0", "x-goog-request-params: property=p"),
    ),
    *family(
        "Google Analytics Measurement Protocol",
        "https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference",
        ("query:measurement_id",),
        ["POST /mp/collect?measurement_id=G-42&api_secret=abc-_D"],
        sites=("G-42",),
    ),
]

SHAPES: list[Shape] = [*MATOMO, *PLAUSIBLE, *UMAMI, *GOOGLE]
