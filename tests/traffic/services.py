"""Hosted services and the query languages of their APIs: business software, content, health, statistics, maps."""

from tests.traffic.shape import Shape, family

SALESFORCE = family(
    "Salesforce",
    (
        "https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_query.htm and "
        "simple-salesforce/simple-salesforce simple_salesforce/api.py (query, sobjects)"
    ),
    ("path:/{site}/services/**",),
    [
        "/shop/services/data/v59.0/query/?q=SELECT+Id,Name+FROM+Account+WHERE+Name+=+'Acme'",
        (
            "/shop/services/data/v59.0/query/?q=SELECT%20Id%20FROM%20Contact%20WHERE%20LastName%20LIKE%20"
            "%27O%5C%27Brien%25%27"
        ),
        "/shop/services/data/v59.0/query/01gD0000002HU6KIAW-2000",
        "/shop/services/data/v59.0/parameterizedSearch/?q=Acme&sobject=Account&Account.fields=id,name&Account.limit=10",
        ("PATCH /shop/services/data/v59.0/sobjects/Account/externalId__c/A-1", "Sforce-Auto-Assign: FALSE"),
        (
            "POST /shop/services/data/v59.0/composite/sobjects",
            "Sforce-Call-Options: client=caseSensitiveToken; defaultNamespace=battle",
        ),
    ],
)

SAP = family(
    "SAP Gateway",
    "SAP/cloud-sdk-js packages/odata-v2 and https://help.sap.com/docs/SAP_NETWEAVER_AS_ABAP_752 (SAP Gateway)",
    ("path:/sap/opu/odata/sap/{site}/**",),
    [
        (
            "/sap/opu/odata/sap/shop/A_BusinessPartner?$filter=substringof('SAP',BusinessPartnerName)%20e"
            "q%20true&$format=json"
        ),
        "/sap/opu/odata/sap/shop/A_SalesOrder('1')/to_Item?$expand=to_PricingElement&$inlinecount=allpages&$top=50",
        "/sap/opu/odata/sap/shop/A_Plan(Key='0001',ValidFrom=datetime'2020-01-01T00:00:00')/$links/to_Item",
        ("/sap/opu/odata/sap/shop/$metadata?sap-language=EN&sap-client=100", "X-CSRF-Token: Fetch"),
        ("POST /sap/opu/odata/sap/shop/A_SalesOrder", "X-CSRF-Token: 9a4371a1fe==", "DataServiceVersion: 2.0"),
    ],
)

MICROSOFT = [
    *family(
        "Microsoft Graph",
        (
            "https://learn.microsoft.com/en-us/graph/query-parameters and https://learn.microsoft.com/en-"
            "us/graph/search-query-parameter"
        ),
        ("path:/v1.0/sites/{site}/**",),
        [
            "/v1.0/sites/shop/drive/root:/Reports/2026%20Q1.xlsx:/content",
            "/v1.0/sites/shop/drive/root:/Reports:/children?$select=id,name&$orderby=name%20desc&$top=5",
            ("/v1.0/sites/shop/lists?$search=%22displayName:sales%22&$count=true", "ConsistencyLevel: eventual"),
            "/v1.0/sites/shop/lists/12/items?expand=fields(select=Title,Color)&$filter=fields/Quantity%20lt%20600",
            "/v1.0/sites/shop/lists/12/items/delta?$skiptoken=MmQyMzUzZjItYTFjNC00ZGEw",
            ("PATCH /v1.0/sites/shop/lists/12/items/7/fields", "If-Match: *", "Prefer: return=representation"),
        ],
        lines=("client-request-id: 4f2b0e2a-0f7d-4b1f-8d0a-9a4371a1fe00", "SdkVersion: graph-python/1.12"),
    ),
    *family(
        "SharePoint",
        "https://learn.microsoft.com/en-us/sharepoint/dev/sp-add-ins/working-with-lists-and-list-items-with-rest",
        ("path:/sites/{site}/_api/**",),
        [
            "/sites/shop/_api/web/lists/GetByTitle('Site%20Pages')/items?$select=Title,Author/Name&$expand=Author",
            "/sites/shop/_api/web/GetFolderByServerRelativeUrl('/Shared%20Documents')/Files",
            "/sites/shop/_api/search/query?querytext=%27title:%22Q1%20report%22%27&rowlimit=10",
            (
                "POST /sites/shop/_api/web/lists/GetByTitle('Test')/items(1)",
                "X-HTTP-Method: DELETE",
                "IF-MATCH: *",
                "X-RequestDigest: 0x9A4371,23 Nov 2026 18:00:00 -0000",
            ),
        ],
        lines=("Accept: application/json;odata=verbose",),
    ),
    *family(
        "Dynamics 365 Web API",
        (
            "https://learn.microsoft.com/en-us/power-apps/developer/data-platform/webapi/query/overview ("
            "FetchXML, filters)"
        ),
        ("host:{site}.crm.example.com",),
        [
            (
                "/api/data/v9.2/accounts?$select=name&$filter=Microsoft.Dynamics.CRM.LastXHours(PropertyName=@p1,PropertyValue=@p2)"
                "&@p1='modifiedon'&@p2=12"
            ),
            "/api/data/v9.2/accounts?fetchXml=%3Cfetch%20top=%223%22%3E%3Centity%20name=%22account%22/%3E%3C/fetch%3E",
            (
                "/api/data/v9.2/contacts(firstname='Joe',emailaddress1='abc@example.com')?$expand=parentc"
                "ustomerid_account($select=name)"
            ),
            (
                "/api/data/v9.2/accounts",
                'Prefer: odata.include-annotations="*",odata.maxpagesize=3',
                "If-None-Match: null",
            ),
        ],
        lines=("Host: shop.crm.example.com", "OData-MaxVersion: 4.0", "OData-Version: 4.0"),
    ),
    *family(
        "Azure Table Storage",
        "https://learn.microsoft.com/en-us/rest/api/storageservices/query-entities",
        ("path:/{site}()", "path:/{site}/**"),
        [
            "/shop/Customers(PartitionKey='a%20b',RowKey='1')?$select=Address",
            "/shop/Customers()?$filter=LastName%20eq%20'Smith'%20and%20Rating%20ge%20254.3&$top=100",
            "/shop()?NextPartitionKey=1!8!U21pdGg-&NextRowKey=1!4!MQ--",
        ],
        lines=("x-ms-version: 2019-02-02", "x-ms-date: Mon, 23 Nov 2026 18:00:00 GMT"),
    ),
]

AIRTABLE = family(
    "Airtable",
    "gtalarico/pyairtable pyairtable/formulas.py, pyairtable/api/params.py",
    ("path:/v0/{site}/**",),
    [
        (
            "/v0/shop/Table%201?fields%5B%5D=Name&fields%5B%5D=Status&filterByFormula=AND%28%7BName%7D%3D"
            "%27a%26b%27%2C%7BAge%7D%3E21%29"
        ),
        (
            "/v0/shop/tblX?sort%5B0%5D%5Bfield%5D=Name&sort%5B0%5D%5Bdirection%5D=desc&view=Grid+view&cel"
            "lFormat=json&pageSize=100"
        ),
        "/v0/shop/tblX?offset=itrOsa2mZHGqJFpfn/recJPvjVcNqEjQEd7",
        "PATCH /v0/shop/tblX/recJPvjVcNqEjQEd7",
        "DELETE /v0/shop/tblX?records[]=rec560UJdUtocSouk&records[]=rec3lbPRG4aVqkeOQ",
    ],
)

CONTENT = [
    *family(
        "Contentful",
        (
            "contentful/contentful.py contentful/client.py and https://www.contentful.com/developers/docs"
            "/references/content-delivery-api/"
        ),
        ("path:/spaces/{site}/**",),
        [
            (
                "/spaces/shop/environments/master/entries?content_type=cat&fields.slug[match]=nyan&sys.up"
                "datedAt[gte]=2026-01-01T00:00:00Z"
            ),
            (
                "/spaces/shop/entries?sys.id%5Bin%5D=finn%2Cjake&fields.likes[exists]=true&order=-sys.cre"
                "atedAt,sys.id&include=2"
            ),
            "/spaces/shop/entries?links_to_entry=finn&fields.center[near]=38,-122&fields.center[within]=1,2,3",
        ],
        lines=("X-Contentful-User-Agent: sdk contentful.py/2.1.1; platform python/3.11.7; os Linux",),
    ),
    *family(
        "Sanity, GROQ",
        "sanity-io/client src/data/encodeQueryString.ts and https://www.sanity.io/docs/http-query",
        ("path:/v2021-06-07/data/query/{site}",),
        [
            (
                "/v2021-06-07/data/query/shop?query=*%5B_type+%3D%3D+%22movie%22+%26%26+slug.current+%3D%3D+%24slug%5D%7B%22a%22%3Atitle%7D"
                "&%24slug=%22arrival%22&returnQuery=false"
            ),
            "/v2021-06-07/data/query/shop?query=*[_id==$id][0]{..., author->{name}}".replace(" ", "%20")
            + "&$id=%22p.1%22",
        ],
    ),
    *family(
        "Shopify Admin",
        "https://shopify.dev/docs/api/usage/pagination-rest and Shopify/shopify_python_api shopify/base.py",
        ("host:{site}.myshop.example.com",),
        [
            "/admin/api/2026-01/products.json?limit=50&fields=id,images,title&since_id=632910392",
            "/admin/api/2026-01/orders.json?page_info=eyJkaXJlY3Rpb24iOiJuZXh0In0&limit=3",
            ("PUT /admin/api/2026-01/products/632910392.json", "Accept: application/json"),
        ],
        lines=("Host: shop.myshop.example.com", "User-Agent: ShopifyPythonAPI/12.7.0 Python/3.11.7"),
    ),
    *family(
        "Firebase Realtime Database",
        "https://firebase.google.com/docs/database/rest/retrieve-data",
        ("path:/sites/{site}.json", "path:/sites/{site}/**"),
        [
            "/sites/shop.json?orderBy=%22$key%22&startAt=%22b%22&endAt=%22b%5Cuf8ff%22&print=pretty",
            '/sites/shop/dinosaurs.json?orderBy="height"&equalTo=0.6&limitToFirst=2',
            "/sites/shop/dinosaurs.json?shallow=true&timeout=10ms",
            ("/sites/shop/events.json", "Accept: text/event-stream"),
            ("PUT /sites/shop/users/1.json?print=silent", "X-Firebase-ETag: true", "if-match: null_etag"),
        ],
    ),
    *family(
        "MediaWiki",
        "https://www.mediawiki.org/wiki/API:Query and mwclient/mwclient mwclient/client.py",
        ("path:/{site}/api.php",),
        [
            (
                "/shop/api.php?action=query&titles=Albert%20Einstein|Category:Foo&prop=info|categories&fo"
                "rmat=json&continue="
            ),
            "/shop/api.php?action=query&list=allpages&apfrom=%1FB&apcontinue=Ba%7C12&formatversion=2",
            "/shop/api.php?action=parse&page=Pet_door&prop=text%7Clinks&origin=*",
        ],
    ),
]

WORK = [
    *family(
        "Jira and Confluence",
        (
            "https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-search/ and "
            "atlassian-api/atlassian-python-api atlassian/jira.py, atlassian/confluence.py"
        ),
        ("path:/{site}/**",),
        [
            (
                "/shop/rest/api/3/search?jql=project%20%3D%20HSP%20AND%20status%20!%3D%20Done%20ORDER%20B"
                "Y%20created&fields=*all,-comment"
            ),
            "/shop/rest/api/2/issue/HSP-1?expand=renderedFields,changelog&properties=*all",
            (
                "/shop/wiki/rest/api/search?cql=type=page%20and%20text~%22a%20%5C%22b%5C%22%22&cqlcontext"
                "=%7B%22spaceKey%22:%22TST%22%7D"
            ),
            ("POST /shop/rest/api/3/issue/HSP-1/attachments", "X-Atlassian-Token: no-check"),
        ],
        lines=("Accept: application/json",),
    ),
    *family(
        "ServiceNow",
        (
            "https://www.servicenow.com/docs/bundle/xanadu-api-reference (Table API) and rbw/pysnow pysno"
            "w/query_builder.py"
        ),
        ("path:/{site}/api/now/**",),
        [
            "/shop/api/now/table/incident?sysparm_query=active=true^ORDERBYDESCnumber^EQ&sysparm_limit=1",
            (
                "/shop/api/now/table/incident?sysparm_query=caller_id%3Djavascript%3Ags.getUserID()%5Eact"
                "ive%3Dtrue&sysparm_display_value=all"
            ),
            "/shop/api/now/stats/incident?sysparm_count=true&sysparm_group_by=state&sysparm_having=count%5E%3E%5E10",
        ],
    ),
    *family(
        "GitHub and GitLab",
        "https://docs.github.com/en/rest/search/search and https://docs.gitlab.com/api/rest/#namespaced-paths",
        ("path:/repos/{site}/**", "path:/groups/{site}/**"),
        [
            "/repos/shop/hello/compare/main...octocat:feature%2Fx?per_page=100&page=2",
            "/repos/shop/hello/contents/docs/a%20b.md?ref=refs/heads/main",
            ("/repos/shop/hello/commits?since=2026-01-01T00:00:00Z", 'If-None-Match: W/"644b5b0155e6404a9cc4"'),
            "/groups/shop/projects?custom_attributes[key]=value&order_by=last_activity_at&with_shared=false",
            "/groups/shop/repository/files/app%2Fmodels%2Fkey.rb?ref=main",
        ],
        lines=("Accept: application/vnd.github+json", "X-GitHub-Api-Version: 2022-11-28"),
    ),
    *family(
        "Stripe",
        "stripe/stripe-python stripe/_encode.py and https://docs.stripe.com/api/expanding_objects",
        ("path:/{site}/v1/**",),
        [
            (
                "/shop/v1/charges?created[gte]=1767225600&expand[]=data.customer&expand[0]=data.invoice.s"
                "ubscription&limit=3"
            ),
            "/shop/v1/charges/search?query=amount%3E999%20AND%20metadata%5B%27order_id%27%5D%3A%276735%27",
            ("/shop/v1/events?types%5B0%5D=a.b&starting_after=evt_1", "Stripe-Version: 2026-01-28.clover"),
        ],
        lines=('X-Stripe-Client-User-Agent: {"lang": "python"}', "Stripe-Account: acct_1032D82eZvKYlo2C"),
    ),
]

HEALTH = family(
    "FHIR",
    "https://hl7.org/fhir/R4/search.html and https://hl7.org/fhir/R4/http.html",
    ("path:/fhir/{site}/**",),
    [
        "/fhir/shop/Patient?name:exact=Eve&birthdate=ge2013-03-14&_include=Patient:general-practitioner:Practitioner",
        (
            "/fhir/shop/Observation?code=http://loinc.org|1234-5&value-quantity=5.4|http://unitsofmeasure"
            ".org|mg&_sort=-date"
        ),
        "/fhir/shop/Patient?_has:Observation:patient:code=1234-5&_revinclude:iterate=Provenance:target",
        "/fhir/shop/Patient/123/$everything?start=2026-01-01&_type=Observation,Condition",
        "/fhir/shop/ValueSet/$expand?url=http%3A%2F%2Fhl7.org%2Ffhir%2FValueSet%2Fx%7C4.0.1&filter=a",
        ("PUT /fhir/shop/Patient?identifier=urn:oid:1.2|77", "Content-Type: application/fhir+json", 'If-Match: W/"3"'),
        ("PATCH /fhir/shop/Patient/1", "Content-Type: application/json-patch+json", "Prefer: handling=strict"),
    ],
    lines=("Accept: application/fhir+json;fhirVersion=4.0",),
)

STATISTICS = [
    *family(
        "SDMX",
        "https://github.com/sdmx-twg/sdmx-rest/blob/v1.5.0/doc/data.md (keys) and khaeru/sdmx sdmx/rest/v21.py",
        ("path:/{site}/data/**",),
        [
            "/shop/data/EXR/D.USD+GBP.EUR.SP00.A?startPeriod=2026-01&detail=dataonly&lastNObservations=1",
            "/shop/data/ECB,EXR,1.0/M..EUR.SP00.A/ECB?dimensionAtObservation=AllDimensions",
            ("/shop/data/DF_X/all", "Accept: application/vnd.sdmx.data+json; charset=utf-8; version=1.0.0"),
        ],
    ),
    *family(
        "World Bank and TfL, lists in the path",
        "https://datahelpdesk.worldbank.org/knowledgebase/articles/898581 and https://api.tfl.gov.uk/",
        ("path:/{site}/**",),
        [
            "/shop/v2/country/chn;bra/indicator/NY.GDP.MKTP.CD;SP.POP.TOTL?source=2&date=2000:2020&format=json",
            "/shop/Line/victoria,central/Status?detail=true",
        ],
    ),
    *family(
        "Routing and geocoding",
        (
            "Project-OSRM/osrm-backend docs/http.md, https://docs.mapbox.com/api/navigation/directions/, "
            "https://nominatim.org/release-docs/latest/api/Search/"
        ),
        ("path:/{site}/**",),
        [
            (
                "/shop/route/v1/driving/13.388860,52.517037;13.397634,52.529407;13.428555,52.523219?overv"
                "iew=false&steps=true"
            ),
            "/shop/table/v1/driving/13.38,52.51;13.39,52.52?sources=0;1&destinations=all&approaches=curb;unrestricted",
            "/shop/directions/v5/mapbox/cycling/-122.42,37.78;-77.03,38.91.json?geometries=polyline6&bearings=45,90;;",
            "/shop/search?q=135+pilkington+avenue,+birmingham&format=jsonv2&viewbox=-1.8,52.5,-1.9,52.6&bounded=1",
            "/shop/interpreter?data=%5Bout%3Ajson%5D%3Bnode%28around%3A100%2C52.5%2C13.4%29%5Bamenity%5D%3Bout%3B",
            (
                "/shop/v1/forecast?latitude=52.52&longitude=13.41&hourly=temperature_2m,wind_speed_10m&ti"
                "mezone=Europe%2FBerlin"
            ),
        ],
    ),
]

SHAPES: list[Shape] = [
    *SALESFORCE,
    *SAP,
    *MICROSOFT,
    *AIRTABLE,
    *CONTENT,
    *WORK,
    *HEALTH,
    *STATISTICS,
]
