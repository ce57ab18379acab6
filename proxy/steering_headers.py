"""x"""


def steers_backends(folded: bytes) -> bool:
    return folded in (
        b"x-original-url",
        b"x-rewrite-url",
        b"x-original-uri",
        b"x-envoy-original-path",
    ) or folded.startswith(b"x-forwarded-")
