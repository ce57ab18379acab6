"""Headers and parameters by which a client asks a backend to take another method than the request line's."""

OVERRIDE_HEADERS = frozenset({b"x-http-method-override", b"x-http-method", b"x-method-override"})
OVERRIDE_PARAMETERS = ("_method",)


def methods_in(value: bytes) -> set[bytes]:
    return {part.strip().upper() for part in value.split(b",")}
