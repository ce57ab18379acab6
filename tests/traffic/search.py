"""Search engines and document stores: Elasticsearch, OpenSearch, Solr, CouchDB, ArangoDB, PocketBase, SPARQL."""

from tests.traffic.shape import FORM, Shape, family

ELASTICSEARCH = [
    *family(
        "Elasticsearch",
        "elastic/elasticsearch-py elasticsearch/_sync/client/__init__.py and indices.py (paths and parameters)",
        ("path:/{site}/**", "path:/{site}"),
        [
            "/shop/_search?q=title:foo%20AND%20_exists_:bar&size=10&from=20&sort=date:desc&_source=name,price",
            "/shop/_search?q=user%3Akimchy+%2B%28a+b%29&default_operator=AND&analyze_wildcard=true",
            "/shop/_search?filter_path=took,hits.hits._id,-hits.hits._score&typed_keys=true&error_trace=true",
            "/shop/_search?scroll=1m&preference=_local&routing=kimchy,ada&ignore_unavailable=true",
            "/shop/_search?source=%7B%22query%22%3A%7B%22match_all%22%3A%7B%7D%7D%7D&source_content_type=application%2Fjson",
            "POST /shop/_search?request_cache=true&allow_partial_search_results=false",
            "POST /shop/_count",
            "POST /shop/_async_search?wait_for_completion_timeout=2s&keep_on_completion=true",
            "POST /shop/_pit?keep_alive=1m",
            "/shop/_doc/1?realtime=false&_source_includes=*.id,entities&_source_excludes=a",
            "/shop/_doc/https%3A%2F%2Fexample.com%2Fa",
            "/shop/_doc/a%2Bb%20c",
            "HEAD /shop/_doc/0",
            "HEAD /shop",
            "/shop/_source/1?_source=name,price",
            "PUT /shop/_doc/1?version=2&version_type=external&refresh=wait_for&timeout=5m",
            "PUT /shop/_create/1?op_type=create&pipeline=my_pipeline",
            "POST /shop/_update/1?retry_on_conflict=3&if_seq_no=362&if_primary_term=2",
            "DELETE /shop/_doc/1?refresh=true",
            "POST /shop/_delete_by_query?conflicts=proceed&slices=auto&scroll_size=5000",
            "POST /shop/_update_by_query?requests_per_second=-1",
            "/shop/_mapping/field/user.id,message*",
            "/shop/_settings/index.number_*?flat_settings=true&include_defaults=true",
            "PUT /shop/_settings?preserve_existing=true",
            "/shop/_stats/search?groups=_all&level=shards",
            "/shop/_field_caps?fields=rating,user.*",
            "/shop/_termvectors/1?fields=text&offsets=true",
            "/shop/_explain/0?q=message%3Asearch",
            "/shop/_validate/query?q=user.id%3Akimchy&rewrite=true&explain=true",
            "POST /shop/_analyze",
            "POST /shop/_refresh",
            "POST /shop/_forcemerge?max_num_segments=1",
            "PUT /shop",
            "DELETE /shop",
            "/shop/_ilm/explain?only_errors",
        ],
        lines=(
            "Accept: application/vnd.elasticsearch+json; compatible-with=9",
            "User-Agent: elasticsearch-py/9.2.0 (Python/3.11.2; elastic-transport/9.2.0)",
            "x-elastic-client-meta: es=9.2.0,py=3.11.2,t=9.2.0,ur=2.5.0",
            "X-Opaque-Id: app17@dc06.eu_user1234",
        ),
    ),
    *family(
        "Elasticsearch bulk bodies",
        "elastic/elasticsearch-py elasticsearch/_sync/client/__init__.py (bulk, msearch)",
        ("path:/{site}/**",),
        [
            ("POST /shop/_bulk?refresh=true&require_alias=false", "Content-Type: application/x-ndjson"),
            (
                "POST /shop/_msearch?typed_keys=true&max_concurrent_searches=5",
                "Content-Type: application/vnd.elasticsearch+x-ndjson; compatible-with=9",
            ),
            ("POST /shop/_mget?stored_fields=a,b", "Content-Encoding: gzip"),
        ],
    ),
]

OPENSEARCH = [
    *family(
        "OpenSearch",
        "opensearch-project/documentation-website _api-reference/ and _search-plugins/",
        ("path:/{site}/**", "path:/{site}"),
        [
            "/shop/_search?search_pipeline=nlp-search-pipeline",
            "/shop/_search?scroll=10m",
            (
                "/shop/_search?source={%22query%22:{%22exists%22:{%22field%22:%22speaker%22}}}"
                "&source_content_type=application/json"
            ),
            "/shop/_doc/2?routing=user1&stored_fields=category,manufacturer",
            "/shop/_stats/refresh,flush",
            "/shop/_settings/index.number_*",
            "/shop/_recovery?human&detailed=true",
            "/shop/_alias/current-*?local=true&expand_wildcards=open,hidden",
            "POST /shop/_cache/clear?fielddata=true",
            "POST /shop/_search/template?explain=true&profile=true",
            "POST /shop/_search/point_in_time?keep_alive=100m",
            "POST /shop/_close?wait_for_active_shards=0",
        ],
    ),
    *family(
        "OpenSearch, lists and wildcards as an index",
        "opensearch-project/documentation-website _api-reference/search-apis/multi-search.md and index-apis",
        ("path:/{site}/**",),
        [
            ("/books,products/_settings", ("books,products",)),
            ("/sensor_data_hourly,sensor_data_daily/_search", ("sensor_data_hourly,sensor_data_daily",)),
            ("/logs-*/_search", ("logs-*",)),
            ("/_all/_search", ("_all",)),
            ("/shop,-blog*/_search?expand_wildcards=open", ("shop,-blog*",)),
        ],
    ),
]

SOLR = [
    *family(
        "Solr",
        "https://solr.apache.org/guide/solr/latest/query-guide/ (common-query-parameters, faceting, json-request-api)",
        ("path:/solr/{site}/**",),
        [
            "/solr/shop/select?q=*:*&rows=0&facet=true&facet.field=cat&facet.mincount=1&wt=json",
            "/solr/shop/select?q=title%3A%22a+b%22~2&fq=inStock:true&fq=price:[0+TO+100]&fl=id,name,score&sort=score+desc",
            "/solr/shop/select?q=%7B!edismax%20qf=name%5E2%7Dipod&defType=edismax&start=20&rows=10",
            "/solr/shop/select?q=video&indent=on&hl=true&hl.fl=name,features&hl.simple.pre=%3Cem%3E",
            "/solr/shop/query?q=memory&fq=inStock:true&json.facet=%7Bavg_price:%22avg(price)%22%7D",
            "/solr/shop/select?q=*:*&sort=id+asc&cursorMark=AoEjR0JQ",
            "/solr/shop/query?json.query=memory&json={%22filter%22:%22inStock:true%22}",
            "/solr/shop/get?ids=a,b&wt=json",
        ],
    ),
    *family(
        "Solr, pysolr",
        "django-haystack/pysolr pysolr.py (_select, _update, _mlt, _suggest_terms)",
        ("path:/solr/{site}/**",),
        [
            "/solr/shop/select/?q=doc&wt=json",
            "/solr/shop/mlt/?q=id%3Adoc_1&mlt.fl=text&wt=json",
            "/solr/shop/terms/?terms.fl=title&terms.prefix=do&wt=json",
            "/solr/shop/admin/ping?wt=json",
            ("POST /solr/shop/update/?commit=true", "Content-Type: text/xml; charset=utf-8"),
            ("POST /solr/shop/select/", FORM),
        ],
    ),
]

COUCHDB = [
    *family(
        "CouchDB",
        "apache/couchdb src/docs/src/api/ and src/docs/src/ddocs/views/collation.rst",
        ("path:/{site}/**", "path:/{site}"),
        [
            "/shop/_all_docs?include_docs=true&limit=10&skip=20",
            "/shop/_all_docs?startkey=%22_design/%22&endkey=%22_design0%22",
            '/shop/_design/recipes/_view/by_ingredient?descending=true&startkey="carrots"&endkey="egg"',
            '/shop/_design/docs/_view/by_date?startkey="2010/01/01%2000:00:00"&endkey="2010/02/00%2000:00:00"',
            "/shop/_design/d/_view/v?startkey=[%22XYZ%22]&endkey=[%22XYZ%22,%20{}]",
            "/shop/_design/d/_view/v?startkey=%5B%22foo%22%5D&endkey=%5B%22foo%22%2C%7B%7D%5D&group_level=2",
            "/shop/_design/d/_view/v?startkey=%22abc%22&endkey=%22abc%5Cufff0%22",
            '/shop/_design/ddoc/_view/reduce?keys=["a","c"]&group=true',
            "/shop/_changes?feed=continuous&style=all_docs&heartbeat=10000",
            "/shop/_changes?feed=eventsource",
            "/shop/_changes?filter=_view&view=ingredients/by_recipe",
            "/shop/_changes?since=4-g1AAAAHXeJzLYWBg4MhgTmHgz8tPSTV0MDQy1zMAQsMcoARTIkOS_P___7MymBMZc4EC7MmJKSmJqWaY",
            "/shop/_changes?filter=mailbox/by_status&status=new&include_docs=true",
            "/shop/SpaghettiWithMeatballs?revs=true&open_revs=[%225-00ecbbc%22,%221-917fa23%22]&latest=true",
            "/shop/SpaghettiWithMeatballs?att_encoding_info=true",
            "/shop/a%2Fb%2Fc",
            "/shop/org.couchdb.user%3Ajan",
            "/shop/_design%2Frecipes",
            "/shop/pixel/logo%20small.png?rev=1-9c65",
            (
                '/shop/_design/searches/_search/movies?q=movie_name:Azazel&highlight_fields=["movie_name"]&highlight_pre_tag='
                '"**"&highlights_size=30'
            ),
            "/shop/_design/cities-designdoc/_search/cities?q=lat:[0+TO+90]&sort=%22%3Cdistance,lon,lat,-74.0,40.7,km%3E%22",
            '/shop/_design/inventory/_search/fruits?q=*:*&drilldown=["state","old"]&drilldown=["item","apple"]',
            "/shop/_partition/sensor-260/_all_docs",
            "POST /shop/_find",
            "POST /shop/_bulk_docs",
            "POST /shop/_changes?filter=_selector",
            "POST /shop?batch=ok",
            "PUT /shop/SpaghettiWithMeatballs?new_edits=false",
            ("PUT /shop/doc", 'If-Match: "1-917fa2381192822767f010b95b45325b"', "X-Couch-Full-Commit: true"),
            "DELETE /shop/FishStew?rev=1-9c65296036141e575d32ba9c034dd3ee",
            ("PUT /shop/doc/attachment.txt?rev=1-9", "Content-Type: text/plain"),
            "/shop/_design/app/_list/ingredients/recipe/by_ingredient?key=%22spaghetti%22",
            "/shop/_design/sofa/_rewrite/recent-posts",
        ],
    ),
]

ARANGODB = family(
    "ArangoDB",
    "arangodb/docs-hugo site/content/arangodb/3.12/develop/http-api/",
    ("path:/_db/{site}/_api/**",),
    [
        "/_db/shop/_api/collection?excludeSystem=true",
        "/_db/shop/_api/document/coll1/docA?returnOld=true",
        "/_db/shop/_api/document/myCollection/myKey?rev=123",
        "/_db/shop/_api/edges/edges?vertex=nodes/1&direction=in",
        "/_db/shop/_api/index?collection=coll&withHidden=true",
        "/_db/shop/_api/version?details=true",
        "POST /_db/shop/_api/cursor",
        ("POST /_db/shop/_api/import?collection=products&type=documents", "Content-Type: application/x-ndjson"),
        ("PUT /_db/shop/_api/document/products/1?ignoreRevs=false", 'If-Match: "_fTF7Le2---"'),
        "PATCH /_db/shop/_api/document/collection1/21456?keepNull=true&ignoreRevs=false",
        ("PUT /_db/shop/_api/cursor/123", "x-arango-async: store", "x-arango-allow-dirty-read: true"),
        "DELETE /_db/shop/_api/gharial/social?dropCollections=true",
    ],
)

POCKETBASE = family(
    "PocketBase",
    "pocketbase/js-sdk tests/services/RecordService.spec.ts and README.md (filter, sort, expand)",
    ("path:/api/collections/{site}/**",),
    [
        "/api/collections/shop/records?page=1&perPage=20&skipTotal=1&sort=-created,%2Btitle&expand=author,comments_via_post",
        "/api/collections/shop/records?filter=created%20%3E%3D%20%272022-01-01%2000%3A00%3A00%27%20%26%26%20some%20!%3D%20null",
        "/api/collections/shop/records/test123?fields=*,expand.rel.name:excerpt(200,true)",
        "/api/collections/shop/records/%40delete?fields=4abc",
    ],
)

SPARQL = family(
    "SPARQL 1.1 Protocol",
    "https://www.w3.org/TR/sparql11-protocol/#query-bindings-http-examples and RDFLib/sparqlwrapper "
    "SPARQLWrapper/Wrapper.py",
    ("path:/datasets/{site}/**",),
    [
        "/datasets/shop/sparql?query=SELECT%20%3Fbook%20%3Fwho%20WHERE%20%7B%20%3Fbook%20dc%3Acreator%20%3Fwho%20%7D",
        "/datasets/shop/sparql?query=PREFIX+dc%3A+%3Chttp%3A%2F%2Fpurl.org%2Fdc%2Felements%2F1.1%2F%3E+SELECT+%2A",
        "/datasets/shop/sparql?default-graph-uri=http%3A%2F%2Fwww.other.example%2Fbooks&query=ASK%20%7B%7D",
        (
            "/datasets/shop/sparql?default-graph-uri=http%3A%2F%2Fa.example%2Fg%23x&named-graph-uri=http%3A%2F%2Fb.example%2Fy"
            "&format=json&results=json&output=json&query=DESCRIBE+%3Cx%3E"
        ),
        ("POST /datasets/shop/sparql", FORM),
        ("POST /datasets/shop/sparql?default-graph-uri=urn%3Ag", "Content-Type: application/sparql-query"),
        ("POST /datasets/shop/update?using-graph-uri=urn%3Ag", "Content-Type: application/sparql-update"),
        ("PUT /datasets/shop/data?graph=http%3A%2F%2Fa.example%2Fg", "Content-Type: text/turtle"),
    ],
    lines=("Accept: application/sparql-results+json,application/json;q=0.9,*/*;q=0.1",),
)

SHAPES: list[Shape] = [*ELASTICSEARCH, *OPENSEARCH, *SOLR, *COUCHDB, *ARANGODB, *POCKETBASE, *SPARQL]
