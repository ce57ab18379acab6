"""Ordinary requests in which no key is found with any config. The share that passes counts them as refused."""

from tests.traffic.shape import Shape, family

SHAPES: list[Shape] = [
    # Keys are read only from the Authorization schemes `Bearer` and `Basic`.
    *family(
        "InfluxDB 2, the token as the key",
        "influxdata/docs-v2 content/influxdb/v2/api-guide/api_intro.md (Authorization: Token)",
        ("query:bucket",),
        ["/api/v2/buckets?bucket=shop&limit=20&offset=0"],
        lines=("Authorization: Token <key>",),
    ),
    *family(
        "Elasticsearch, the API key as the key",
        "elastic/elasticsearch-py docs/reference/connecting.md (api_key, basic_auth)",
        ("path:/{site}/**",),
        ["/shop/_search?q=a"],
        lines=("Authorization: ApiKey <key>",),
    ),
]
