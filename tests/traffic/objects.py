"""Object stores and maps: S3, WMS and WFS of GeoServer and QGIS, OGC API Features, STAC."""

from tests.traffic.shape import Shape, family

SIGNED = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
    "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
    "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
)
AWS4 = (
    "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
    "SignedHeaders=host;range;x-amz-date,Signature=fe5f80f77d5fa3beca038a248ff027d0445342fe2855ddc963176630326f1024"
)

S3 = [
    *family(
        "S3, path style",
        "boto/botocore botocore/data/s3/2006-03-01/service-2.json (requestUri) and botocore/auth.py (S3SigV4Auth)",
        ("path:/{site}/**", "path:/{site}"),
        [
            "/shop?list-type=2&prefix=photos%2F2026%2F&delimiter=%2F&max-keys=100&encoding-type=url",
            "/shop?list-type=2&continuation-token=1ueGcxLPRx1Tr%2FXYExHnhbYLgveDs2J%2Fwm36Hy4vbOwM%3D&start-after=a%2Bb",
            "/shop?versions&prefix=a%20b&key-marker=x",
            "/shop?uploads",
            "/shop?location",
            "/shop/?versioning",
            "HEAD /shop",
            "HEAD /shop/photos/puppy.jpg?versionId=3HL4kqtJlcpXroDTDmJ%2BrmSpXd3dIbrHY%2BMTRCxf3vjVBH40Nr8X8g",
            "/shop/photos/2026/caf%C3%A9%20%2B%20a.jpg",
            "/shop/a+b/c%20d/e%3Df%26g.csv",
            "/shop/%E6%97%A5%E6%9C%AC/%E2%98%83.txt",
            "/shop/key%25with%25percent",
            "/shop/dir/",
            "/shop/a%2Fb",
            (
                "/shop/photos/puppy.jpg?response-content-disposition=attachment%3B%20filename%3D%22a.jpg%22"
                "&response-content-type=image%2Fjpeg"
            ),
            "/shop/photos/puppy.jpg?partNumber=2",
            "/shop/photos/puppy.jpg?attributes",
            "/shop/photos/puppy.jpg?tagging",
            ("PUT /shop/photos/puppy.jpg?tagging", "Content-MD5: 8dYiLewFWZyGgV2Q5FNI4W==", "Content-Type: text/xml"),
            ("PUT /shop/my-movie.m2ts?partNumber=1&uploadId=VCVsb2FkIElEIGZvciBlbZZpbmcncyBteS1tb3ZpZS5t",),
            ("POST /shop/my-movie.m2ts?uploads", "x-amz-storage-class: STANDARD_IA"),
            ("POST /shop/my-movie.m2ts?uploadId=VCVsb2", "Content-Type: application/xml"),
            ("POST /shop?delete", "Content-MD5: p5/WA/oEr30qrEEl21PAqw==", "x-amz-checksum-crc32: AAAAAA=="),
            "DELETE /shop/photos/puppy.jpg?versionId=null",
            "DELETE /shop?lifecycle",
            ("POST /shop/data.csv?select&select-type=2", "Content-Type: application/xml"),
            ("/shop/test.txt", "Range: bytes=0-9", "x-amz-request-payer: requester"),
            (
                "PUT /shop/test$file.text",
                "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
                "Content-Encoding: aws-chunked",
                "x-amz-decoded-content-length: 66560",
                "x-amz-meta-author: Ada",
                "x-amz-acl: private",
                "Expect: 100-continue",
            ),
        ],
        lines=(
            AWS4,
            "x-amz-date: 20130524T000000Z",
            "User-Agent: Boto3/1.40.0 md/Botocore#1.40.0 ua/2.1 os/linux#6.1 md/arch#x86_64 lang/python#3.11.2",
            "amz-sdk-invocation-id: 9a4371a1-fec0-11e6",
            "amz-sdk-request: attempt=1",
        ),
    ),
    *family(
        "S3, pre-signed URLs",
        "boto/botocore botocore/signers.py and https://docs.aws.amazon.com/AmazonS3/latest/API/"
        "sigv4-query-string-auth.html",
        ("path:/{site}/**",),
        [
            f"/shop/test.txt?{SIGNED}",
            f"PUT /shop/uploads/a%20b.bin?{SIGNED}&x-id=PutObject",
            f"HEAD /shop/test.txt?{SIGNED}&x-amz-checksum-mode=ENABLED",
        ],
    ),
    *family(
        "S3, a host name for each bucket",
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html",
        ("host:{site}.s3.example.com",),
        ["/?list-type=2&prefix=shop%2F", "/photos/puppy.jpg", "PUT /photos/puppy.jpg", f"/a+b%20c.txt?{SIGNED}"],
        lines=("Host: shop.s3.example.com",),
    ),
]

GEOSERVER = [
    *family(
        "GeoServer WMS and WFS",
        "https://docs.geoserver.org/latest/en/user/services/wms/reference.html, services/wfs/reference.html, "
        "styling and cql_filter tutorials",
        ("path:/geoserver/{site}/**",),
        [
            (
                "/geoserver/shop/wms?service=WMS&version=1.1.1&request=GetMap&layers=topp%3Astates&styles=&format=image%2Fpng"
                "&transparent=false&height=256&width=256&srs=EPSG%3A3857&bbox=-11271098.44281895,5009377.08,-10644926.3,5635549.2"
            ),
            (
                "/geoserver/shop/wms?SERVICE=WMS&VERSION=1.3.0&REQUEST=GetFeatureInfo&LAYERS=a,b&QUERY_LAYERS=a&I=5&J=7"
                "&CRS=EPSG:4326&BBOX=24.9,-124.7,49.3,-66.9&INFO_FORMAT=application/json&FEATURE_COUNT=50"
            ),
            (
                "/geoserver/shop/wms?service=WMS&request=GetMap&layers=colorado:A,colorado:B&cql_filter=BSGMU%3E0;BSGMU='S3'"
                "&styles=Outlines,Polygon&width=768&height=634&srs=EPSG:26913&format=image%2Fpng"
            ),
            "/geoserver/shop/wms?request=GetLegendGraphic&layer=x&legend_options=fontName:Arial;fontAntiAliasing:true",
            "/geoserver/shop/wms/kml?layers=topp:states&featureid=states.5&FILTER=%3CFilter%3E%3CPropertyIsBetween%3E",
            "/geoserver/shop/wms?request=GetMap&layers=x&viewparams=low:2000000;high:5000000&env=size:10;color:ff0000",
            (
                "/geoserver/shop/ows?service=WFS&version=2.0.0&request=GetFeature&typeNames=topp:states&count=50&startIndex=0"
                "&outputFormat=application/json&propertyName=STATE_NAME,PERSONS&sortBy=PERSONS+D"
            ),
            "/geoserver/shop/wfs?request=GetFeature&version=1.1.0&typeName=topp:states&BBOX=-75,40,-73,41,urn:ogc:def:crs:EPSG:4326",
            (
                "/geoserver/shop/wfs?service=wfs&version=2.0.0&request=GetFeature&typeNames=(a)(b)&outputFormat=text/xml;%20"
                "subtype=gml/3.1.1"
            ),
            "/geoserver/shop/gwc/service/tms/1.0.0/topp%3Astates@EPSG%3A900913@png/7/35/80.png",
            ("POST /geoserver/shop/wfs", "Content-Type: text/xml"),
            ("PUT /geoserver/shop/styles/roads", "Content-Type: application/vnd.ogc.sld+xml"),
        ],
    ),
    *family(
        "QGIS Server and OWSLib",
        "https://docs.qgis.org/latest/en/docs/server_manual/services/wfs.html and geopython/OWSLib tests/",
        ("query:MAP",),
        [
            (
                "/cgi-bin/qgis_mapserv.fcgi?SERVICE=WFS&VERSION=1.1.0&MAP=shop&REQUEST=GetFeature&TYPENAME=country"
                "&EXP_FILTER=%22pop%22%20%3E%203"
            ),
            "/ows?service=WMS&request=GetCapabilities&MAP=shop",
        ],
    ),
]

OGC_API = [
    *family(
        "OGC API Features",
        "opengeospatial/ogcapi-features implementations and core/standard",
        ("path:/collections/{site}/**", "path:/collections/{site}"),
        [
            "/collections/shop/items?f=json&properties=F_CODE,ZI005_FNA&skipGeometry=true",
            "/collections/shop/items?datetime=2011-01-01/2012-12-31&bbox=36.0,32.6,36.1,32.7&F_CODE=AL030",
            "/collections/shop/items?datetime=../2012-12-31T23:59:59Z",
            "/collections/shop/items?filter=F_CODE%3D%27AP030%27%20AND%20RTY%20IN%20(1%2C2)&filter-lang=cql2-text",
            "/collections/shop/items?crs=http%3A%2F%2Fwww.opengis.net%2Fdef%2Fcrs%2FEPSG%2F0%2F3857",
            "/collections/shop/items?f=application%2Fgml%2Bxml%3B%20version%3D3.2%3B%20profile%3D%22http%3A%2F%2Fa%22",
            "/collections/shop/items/34?maxAllowableOffset=0.001",
            "/collections/shop/items/7?f=json",
        ],
    ),
]

STAC = [
    *family(
        "STAC API",
        "radiantearth/stac-api-spec item-search/README.md and implementation.md",
        ({"query": "collections", "separator": ","},),
        [
            (
                "/search?collections=shop,42&bbox=-10.415,36.066,3.779,44.213&limit=200&datetime=2017-05-05T00:00:00Z",
                ("shop", "42"),
            ),
            "/search?collections=shop&bbox=160.6,-55.95,-170,-25.89&datetime=2019-01-01T00:00:00Z/2019-01-01T23:59:59Z",
            "/search?collections=shop&ids=a,b&sortby=+properties.created,-id&fields=id,-geometry",
            "/search?collections=shop&next=ANsXtp9mrqN0yrKWhf-y2PUpHRLQb1GT-mtxNcXou8TwkXhi1Jbk",
            "/search?collections=shop&query=%7B%22eo%3Acloud_cover%22%3A%7B%22lt%22%3A10%7D%7D",
            "/search?collections=shop&intersects=%7B%22type%22%3A%22Point%22%2C%22coordinates%22%3A%5B0%2C0%5D%7D",
        ],
    ),
    *family(
        "STAC API, collections",
        "radiantearth/stac-api-spec ogcapi-features/README.md",
        ("path:/collections/{site}/**",),
        [
            "/collections/shop/items?bbox=160.6,-55.95,-170,-25.89&limit=100",
            "/collections/shop/items?datetime=2019-01-01T00:00:00Z/2019-03-31T23:59:59Z&token=f32890a0bdb09ac3",
        ],
    ),
]

SHAPES: list[Shape] = [*S3, *GEOSERVER, *OGC_API, *STAC]
