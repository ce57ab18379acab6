"""APIs over tables and content: PostgREST, Supabase, Datasette, OData, GraphQL, JSON:API, content, open data."""

from tests.traffic.shape import FORM, Shape, family

SITE_ID = ({"query": "site_id", "template": "eq.{site}"},)

POSTGREST = [
    *family(
        "PostgREST",
        "PostgREST/postgrest docs/references/api/tables_views.rst, resource_embedding.rst, aggregate_functions.rst, "
        "pagination_count.rst, preferences.rst",
        SITE_ID,
        [
            "/people?site_id=eq.shop&age=gte.18&student=is.true",
            "/people?grade=gte.90&student=is.true&or=(age.eq.14,not.and(age.gte.11,age.lte.17))&site_id=eq.shop",
            "/people?site_id=eq.shop&select=fullName:full_name,birthDate:birth_date,salary::text",
            "/people?site_id=eq.shop&select=id,json_data->>blood_type,json_data->phones->0->>number",
            "/people?site_id=eq.shop&json_data->>blood_type=eq.A-&order=json_data->>age.desc.nullslast",
            "/films?site_id=eq.shop&select=*,actors!inner(first_name,last_name)&actors.first_name=eq.Jehanne",
            "/films?site_id=eq.shop&select=*,roles(*,actors(*))&roles.actors.first_name=like.*Tom*",
            "/films?site_id=eq.shop&select=title,act:actors(),dir:directors()&or=(dir.not.is.null,act.not.is.null)",
            "/films?select=*,actors(*)&actors.order=last_name,first_name&actors.limit=10&actors.offset=2&site_id=eq.shop",
            "/orders?site_id=eq.shop&select=order_details->tax_amount::numeric.sum(),amount.avg()::int,count()",
            "/employees?site_id=eq.shop&name=in.(%22Hebdon,John%22,%22Williams,Mary%22)",
            "/marks?site_id=eq.shop&name=in.(%22Quote:%5C%22%22,%22Backslash:%5C%5C%22)",
            "/vulnerabilities?site_id=eq.shop&%22information.cpe%22=like.*MS*",
            "/people?site_id=eq.shop&full_name=fts(french).amusant&my_tsv=wfts.%22a%20b%22",
            "/countries?site_id=eq.shop&location->lat=gte.19&tags=cs.%7Ba,b%7D&range=ov.[2017-01-01,2017-06-30]",
            "/Order%20Items?site_id=eq.shop&Unit%20Price=lt.200",
            "/%D9%85%D9%88%D8%A7%D8%B1%D8%AF?site_id=eq.shop",
            "/profiles?site_id=eq.shop&id=eq.ZLOTeeNEY4pkp9OxA==",
            "/people?site_id=eq.shop&limit=15&offset=30&order=age.desc,height.asc",
            ("/people?site_id=eq.shop", "Range-Unit: items", "Range: 0-24", "Prefer: count=exact"),
            ("HEAD /bigtable?site_id=eq.shop", "Prefer: count=estimated"),
            ("/people?site_id=eq.shop&id=eq.1", "Accept: application/vnd.pgrst.object+json;nulls=stripped"),
            ("/people?site_id=eq.shop&select=*", "Accept: text/csv"),
            ("/people?site_id=eq.shop&limit=1", 'Accept: application/vnd.pgrst.plan+json; for="application/json"'),
            ("PATCH /people?site_id=eq.shop&age=lt.13", "Prefer: return=minimal, max-affected=10, handling=strict"),
            ("PUT /employees?id=eq.4&site_id=eq.shop", "Prefer: missing=default"),
            ("DELETE /user?site_id=eq.shop&active=is.false", "Prefer: return=headers-only", "Prefer: tx=rollback"),
            ("POST /employees?on_conflict=name&site_id=eq.shop", "Prefer: resolution=merge-duplicates"),
            ("POST /datasets?columns=source,figure&site_id=eq.shop", "Content-Type: text/csv"),
            "/rpc/best_films_2017?rating=gt.8&order=title.desc&site_id=eq.shop",
            "/rpc/plus_one?arr=%7B1,2,3,4%7D&site_id=eq.shop",
            "/rpc/plus_one?v=1&v=2&v=3&v=4&site_id=eq.shop",
            "POST /rpc/mult_them?site_id=eq.shop",
        ],
    ),
    *family(
        "PostgREST, a list of sites",
        "PostgREST/postgrest docs/references/api/tables_views.rst (in operator)",
        ({"query": "site_id", "template": "in.({site})", "separator": ","},),
        [
            "/stats?site_id=in.(shop,42)&select=day,visits",
            "/stats?site_id=in.%28shop%2C42%29&order=day.desc",
        ],
        sites=("shop", "42"),
    ),
    *family(
        "Supabase",
        "supabase/postgrest-js src/PostgrestFilterBuilder.ts and supabase/supabase-js packages/core",
        ({"query": "site_id", "template": "eq.{site}"},),
        [
            "/rest/v1/stats?select=*%2Cpages%28url%29&site_id=eq.shop&order=day.asc.nullslast&limit=1000",
            "/rest/v1/stats?select=name&site_id=eq.shop&or=%28id.gt.2%2Cname.ilike.%25a%25%29",
            ("POST /rest/v1/stats?columns=%22id%22%2C%22name%22&site_id=eq.shop", "Prefer: return=representation"),
            ("HEAD /rest/v1/stats?select=*&site_id=eq.shop", "Prefer: count=exact"),
        ],
        lines=("X-Client-Info: supabase-js-node/2.81.0", "apikey: anon", "Accept-Encoding: gzip"),
    ),
    *family(
        "Supabase, a project for each site",
        "supabase/supabase-js README.md (https://xyzcompany.supabase.co)",
        ("host:{site}.supabase.example",),
        ["/rest/v1/stats?select=*", "/storage/v1/object/public/avatars/folder/a%20b.png?width=100", "/auth/v1/health"],
        lines=("Host: shop.supabase.example", "X-Client-Info: supabase-js-web/2.81.0"),
    ),
]

DATASETTE = family(
    "Datasette",
    "simonw/datasette docs/json_api.rst, facets.rst, full_text_search.rst, csv_export.rst, sql_queries.rst",
    ("path:/{site}.json", "path:/{site}.blob", "path:/{site}/**", "path:/{site}"),
    [
        "/shop/legislator_terms?_facet=type&_facet=party&_facet=state&_facet_size=10",
        "/shop/global-power-plants.json?country_long__exact=United+Kingdom&primary_fuel=Gas&_shape=array",
        "/shop/FARA_All_ShortForms.json?_search=manafort&_searchmode=raw",
        "/shop/facetable.csv?_labels=on&_size=max",
        "/shop/facetable.csv?_stream=on&_dl=on",
        "/shop/facetable?_where=_city_id%20in%20(select%20id%20from%20facet_cities%20where%20name%20!=%20%22Detroit%22)",
        "/shop/facetable.json?_where=_neighborhood%20like%20%22%25c%25%22&_where=_city_id=3&_nofacet=1",
        "/shop/facetable.json?_facet_array=tags&_facet_date=created&_trace=1",
        "/shop/facetable.json?created__gt=2019-01-14&state__in=CA,MI&tags__arraycontains=tag1&_sort_desc=pk",
        "/shop/facetable.json?_through={%22table%22:%22roadside%22,%22column%22:%22id%22,%22value%22:%221%22}",
        "/shop/binary_data/1.blob?_blob_column=data",
        "/shop.blob?sql=select+data+from+binary_data&_blob_column=data&_blob_hash=f3088978da8f9aea",
        "/shop.json?sql=select+neighborhood+from+facetable+order+by+pk+limit+101&_shape=arrayfirst",
        "/shop.json?sql=select+*+from+dogs+where+name%3D:name&name=Cleo",
        "/shop.json?sql=select+'{%22this+is%22%3A+%22a+json+object%22}'+as+d&_shape=array&_json=d",
        "/shop/-/query.json?sql=select+*+from+dogs+where+name=:name&name=Cleo",
        "/shop/-/query?sql=SELECT+*+FROM+%5Bavengers~2Favengers%5D+order+by+random%28%29+limit+1&_ttl=0",
        "/shop/table~2Fwith~2Fslashes~2Ecsv.json?_format=json",
        "/shop/compound_three_primary_keys/a,a,a.json",
        "/shop/compound/a~2Fb,~2Ec~2Dd?_extra=columns,render_cell&_next=200",
        "/shop/neighborhood_search.json?text=town&_hide_sql=1",
        "/shop/facetable/-/autocomplete?q=search",
        "POST /shop/facetable/-/insert",
        "POST /shop/facetable/1/-/update",
        ("POST /shop/add_message", FORM),
    ],
)

ODATA = [
    *family(
        "OData",
        "SAP/python-pyodata tests/test_service_v2.py and https://docs.oasis-open.org/odata/odata/v4.01/"
        "odata-v4.01-part2-url-conventions.html",
        ("path:/odata/Sites('{site}')/**", "path:/odata/Sites('{site}')"),
        [
            "/odata/Sites('shop')",
            "/odata/Sites(%27shop%27)/Pages",
            "/odata/Sites('shop')/Employees/$count?$filter=%28ID%20eq%2023%20and%20NickName%20eq%20%27Steve%27%29",
            "/odata/Sites('shop')/Employees/$count?%24filter=ID%20gt%2023%20and%20NickName%20eq%20%27Steve%27",
            "/odata/Sites('shop')/Employees(23)/Addresses?$inlinecount=allpages&$skiptoken='opaque'",
            "/odata/Sites('shop')/Cars('Hadraplan')/IDPic/$value/",
            "/odata/Sites('shop')/Pages(ID=1,Lang='de')?$select=Id,Title&$expand=Links($top=3;$orderby=Url%20desc)",
            "/odata/Sites('shop')/Pages?$apply=groupby((Lang),aggregate(Visits%20with%20sum%20as%20Total))",
            "/odata/Sites('shop')/Pages?$search=%22big%20data%22%20OR%20NOT%20x&$format=application/json;odata.metadata=none",
            "/odata/Sites('shop')/Pages?$filter=Url%20eq%20@u&@u=%27https://example.com/?a=1%27",
            "/odata/Sites('shop')/NS.MostVisited(top=3,from=2026-01-01)",
            "/odata/Sites('shop')/Pages(1)/Title/$ref?$id=../../Pages(0)",
            ("PATCH /odata/Sites('shop')/Pages(1)", 'If-Match: W/"MjAxMy0wNS0yN1QxMTo1OFo="', "Prefer: return=minimal"),
            (
                "POST /odata/Sites('shop')/Pages",
                "OData-Version: 4.0",
                "OData-MaxVersion: 4.01",
                "Accept: application/json",
            ),
        ],
    ),
    *family(
        "Power BI and Power Query, an OData feed",
        "MicrosoftDocs/powerquery-docs powerquery-docs/connectors/odata-feed.md and samples/trippin",
        ("path:/odata/Sites('{site}')/**",),
        ["/odata/Sites('shop')/Pages?$select=Title&$top=1000&$skip=2000", "/odata/Sites('shop')/$metadata"],
        lines=(
            "User-Agent: Microsoft.Data.Mashup (https://go.microsoft.com/fwlink/?LinkID=304225)",
            "OData-Version: 4.0",
            "OData-MaxVersion: 4.0",
            "MaxDataServiceVersion: 3.0",
            "Accept: application/json;odata.metadata=minimal;q=1.0,application/json;odata=minimalmetadata;q=0.9",
            "Accept-Encoding: gzip, deflate",
            "Connection: Keep-Alive",
        ),
    ),
]

GRAPHQL = [
    *family(
        "GraphQL over HTTP",
        "graphql/graphql-over-http spec/GraphQLOverHTTP.md (GET, POST)",
        ("path:/sites/{site}/graphql",),
        [
            (
                "/sites/shop/graphql?query=query(%24id%3A%20ID!)%7Buser(id%3A%24id)%7Bname%7D%7D"
                "&variables=%7B%22id%22%3A%22QVBJcy5ndXJ1%22%7D&operationName=a"
            ),
            "/sites/shop/graphql?query=%7B%0A++page%28url%3A%22http%3A%2F%2Fnews.example%22%29+%7B%0A++++title%0A++%7D%0A%7D",
            "/sites/shop/graphql?extensions=%7B%22persistedQuery%22%3A%7B%22version%22%3A1%2C%22sha256Hash%22%3A%22ecf4%22%7D%7D",
            ("POST /sites/shop/graphql", "Accept: application/graphql-response+json, application/json;q=0.9"),
        ],
        lines=("Apollo-Require-Preflight: true", "apollographql-client-name: web", "apollographql-client-version: 1.2"),
    ),
    *family(
        "Hasura",
        "https://hasura.io/docs/2.0/auth/authentication/admin-secret-access/ and restified endpoints",
        ("path:/api/rest/{site}/**",),
        ["/api/rest/shop/pages?limit=10&since=2026-01-01", "POST /api/rest/shop/pages"],
        lines=("x-hasura-role: viewer", "x-hasura-user-id: 7"),
    ),
]

JSON_API = [
    *family(
        "JSON:API",
        "json-api/json-api _format/1.1/index.md",
        ("query:filter[site]",),
        [
            "/articles?filter[site]=shop&include=author&fields[articles]=title,body&fields[people]=name",
            "/articles?filter%5Bsite%5D=shop&page%5Bsize%5D=10&page%5Bnumber%5D=2",
            "/articles?filter[site]=shop&sort=-created,title&page[cursor]=xyz%3D%3D",
            "/comments?filter[site]=shop&filter[post]=1,2&filter[author]=12",
        ],
        lines=("Accept: application/vnd.api+json",),
    ),
    *family(
        "JSON:API, resources",
        "json-api/json-api _format/1.1/index.md (Fetching Data, CRUD, relationships)",
        ("path:/{site}/**",),
        [
            "/shop/articles/1/relationships/comments?include=comments.author",
            ("POST /shop/photos", 'Content-Type: application/vnd.api+json;ext="https://jsonapi.org/ext/atomic"'),
            ("PATCH /shop/articles/1/relationships/tags", "Content-Type: application/vnd.api+json"),
            ("DELETE /shop/articles/1/relationships/comments", "Content-Type: application/vnd.api+json"),
        ],
    ),
    *family(
        "Drupal JSON:API",
        "d34dman/drupal-jsonapi-params README.md and tests (filters, groups, operators)",
        ("path:/{site}/jsonapi/**",),
        [
            (
                "/shop/jsonapi/node/article?filter[status]=1&include=field_a.id,field_b.uid&page[limit]=5&sort=-id,uid,status"
                "&fields[node--article]=field_a.id,field_b.uid,field_c.tid"
            ),
            (
                "/shop/jsonapi/node/article?filter[4][condition][path]=status&filter[4][condition][value]=2"
                "&filter[4][condition][operator]=!=&filter[4][condition][memberOf]=publish_status"
                "&filter[publish_status][group][conjunction]=OR"
            ),
            (
                "/shop/jsonapi/node/article?filter%5Bid%5D%5Bcondition%5D%5Bvalue%5D%5B0%5D=1"
                "&filter%5Bid%5D%5Bcondition%5D%5Boperator%5D=NOT%20BETWEEN"
            ),
        ],
    ),
    *family(
        "Strapi",
        "https://docs.strapi.io/cms/api/rest/filters and strapi/client tests",
        ("query:filters[site][$eq]",),
        [
            "/api/restaurants?filters[site][$eq]=shop&filters[id][$in][0]=3&filters[id][$in][1]=6",
            (
                "/api/books?filters%5Bsite%5D%5B%24eq%5D=shop&filters[$or][0][date][$eq]=2020-01-01"
                "&filters[$or][1][date][$eq]=2020-01-02&filters[author][name][$eq]=Kai%20doe"
            ),
            (
                "/api/articles?filters[site][$eq]=shop&populate[author][fields][0]=firstName&sort[0]=title:asc"
                "&pagination[pageSize]=10&locale[0]=en"
            ),
            "/api/upload/files?filters%5Bmime%5D%5B%24contains%5D=image&filters[site][$eq]=shop",
        ],
    ),
    *family(
        "Directus",
        "directus/docs content/ (query parameters: filter, fields, deep, alias, aggregate)",
        ("query:filter[site][_eq]",),
        [
            "/items/posts?filter[site][_eq]=shop&fields=*,author.name&sort=-publish_date,sort&limit=50",
            "/items/pages?filter[site][_eq]=shop&deep[translations][_filter][languages_code][_eq]=en-US",
            "/items/posts?filter[site][_eq]=shop&filter[year(date_published)][_eq]=1968&aggregate[count]=*",
            "/items/posts?alias[all_translations]=translations&filter[site][_eq]=shop&search=Directus&export=csv",
            "/items/shapes/1?fields=id,json(children.item:circles.metadata,$.a)&filter[site][_eq]=shop",
            "/items/posts?fields[]=title&fields[]=body&filter%5Bsite%5D%5B_eq%5D=shop",
        ],
    ),
]

WORDPRESS = family(
    "WordPress REST API",
    "WP-API/docs using-the-rest-api/ (global parameters, pagination, linking) and reference/posts.md",
    ("path:/{site}/wp-json/**", "path:/{site}/wp-json"),
    [
        "/shop/wp-json/wp/v2/posts?per_page=10&page=2&_embed=author,wp:term&_fields=author,id,excerpt,title,link",
        "/shop/wp-json/wp/v2/comments?post=28312&orderby=date_gmt&order=desc",
        "/shop/wp-json/wp/v2/posts?categories=3,5&tags_exclude=7&after=2026-01-01T00:00:00&status[]=draft&status[]=future",
        "/shop/wp-json/?_jsonp=receiveData",
        ("/shop/wp-json/wp/v2/posts?context=edit&_locale=user", "X-WP-Nonce: 9a4371a1fe"),
        (
            "POST /shop/wp-json/wp/v2/media",
            "Content-Type: image/png",
            'Content-Disposition: attachment; filename="a.png"',
        ),
        ("POST /shop/wp-json/wp/v2/posts/7", "X-HTTP-Method-Override: PUT"),
        "DELETE /shop/wp-json/my-shop/v1/products/1?force=true",
    ],
)

OPEN_DATA = [
    *family(
        "CKAN",
        "ckan/ckan doc/api/index.rst and doc/maintaining/datastore.rst",
        ("query:id", "query:resource_id"),
        [
            "/api/3/action/package_show?id=shop&callback=myfunction",
            "/api/3/action/datastore_search?resource_id=shop&limit=5&q=title:jones&filters=%7B%22a%22%3A%5B%22b%22%5D%7D",
            "/api/3/action/group_show?id=shop&include_datasets=True",
            "POST /api/3/action/resource_patch?id=shop",
        ],
    ),
    *family(
        "CKAN, search",
        "ckan/ckan doc/api/index.rst (package_search, term_translation_show)",
        ({"query": "fq", "template": "organization:{site}"},),
        [
            "/api/3/action/package_search?q=spending&rows=10&fq=organization:shop",
            "/api/3/action/package_search?fq=organization%3Ashop&facet.field=%5B%22tags%22%5D&sort=score%20desc",
        ],
    ),
    *family(
        "Socrata",
        "socrata/dev.socrata.com docs/ (SoQL, endpoints, app tokens)",
        ("path:/resource/{site}.json", "path:/resource/{site}.csv", "path:/api/views/{site}/**"),
        [
            "/resource/shop.json?$where=end_date_time%20between%20%272017-01-01%27%20and%20%272018-01-01%27",
            "/resource/shop.json?$where=starts_with(description,%20%27bike%20miles%27)&$select=avg(current_speed)",
            "/resource/shop.csv?$select=year,bus,paratransit,rail&$where=year>1999&$limit=5000",
            "/resource/shop.csv?topic=Overall%20Health&break_out=Overall",
            "/resource/shop.csv?%24limit=5000&%24%24app_token=YOURAPPTOKENHERE",
            "/resource/shop.json?$query=SELECT%20*%20WHERE%20within_circle(location,%2047.6,%20-122.3,%201000)",
            "/api/views/shop/rows.csv?accessType=DOWNLOAD&api_foundry=true",
            ("PUT /resource/shop.json", "X-App-Token: YOURAPPTOKENHERE"),
        ],
    ),
]

SHAPES: list[Shape] = [
    *POSTGREST,
    *DATASETTE,
    *ODATA,
    *GRAPHQL,
    *JSON_API,
    *WORDPRESS,
    *OPEN_DATA,
]
