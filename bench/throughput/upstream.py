"""The data API behind every candidate: nginx, which hands event streams and WebSockets to a program of ours."""

from bench.throughput.candidates import Candidate, Command, Place
from bench.throughput.nginx import LUA_MODULES, nginx

DOWNLOAD_BYTES = 10 * 1024 * 1024
_BODY = '{"uptime":' + "1" * 1013 + "}"
_FIELDS = {
    "Cache-Control": "private, max-age=30",
    "Vary": "Accept-Encoding, Origin",
    "ETag": '"5f3a9c"',
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Language": "en",
    "Set-Cookie": "seen=1; Path=/; HttpOnly",
}
"""With Server, Date, Content-Type and Content-Length, these are 12 header fields."""


def _command(streams: int) -> Command:
    def command(place: Place, port: int, tls: int) -> list[str]:
        (place.folder / "download").write_bytes(b"x" * DOWNLOAD_BYTES)
        fields = "".join(f"add_header {name} '{value}';\n" for name, value in _FIELDS.items())
        return nginx(
            place,
            "default_type application/json;\nclient_body_buffer_size 16m;\n"
            f"upstream streams {{ server 127.0.0.1:{streams}; }}\n"
            "server {\n"
            f"listen 127.0.0.1:{port} backlog=2048;\n"
            f"location / {{ return 200 '{_BODY}'; }}\n"
            f"location ~ /browser$ {{ {fields} return 200 '{_BODY}'; }}\n"
            f"location ~ /download$ {{ root {place.folder}; try_files /download =404; }}\n"
            # Responds only after it has read the whole body.
            "location ~ /upload$ { content_by_lua_block { ngx.req.read_body() ngx.say('{}') } }\n"
            "location ~ /(events|echo)$ {\n"
            "proxy_pass http://streams;\nproxy_http_version 1.1;\nproxy_buffering off;\n"
            "proxy_pass_header X-Accel-Buffering;\n"
            "proxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection $http_connection;\n}\n}\n",
            modules=LUA_MODULES,
        )

    return command


def upstream(streams: int) -> Candidate:
    """Return the upstream. `streams` is the port of bench.throughput.streams."""
    return Candidate("upstream", "nothing", _command(streams))
