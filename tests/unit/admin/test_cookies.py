"""Finding our cookie among those that a browser sends."""

import pytest

from admin.identity.cookies import HTTPS, cookie_value
from tests.effort import calls

OURS = "__Host-sitelatch=token"


@pytest.mark.parametrize(
    "line", [OURS, f"a=b; {OURS}", f"{OURS}; a=b", f"a=b;{OURS};c=d", f" {OURS} ; a", f"a; =; ;;b==; {OURS}"]
)
def test_the_session_cookie_is_found_among_others(line: str) -> None:
    assert cookie_value(["a=b", line, "c"], "keys.example") == ("token", HTTPS)


@pytest.mark.parametrize(
    "line",
    [
        "",
        f"x{OURS}",
        f"a=b {OURS}",  # another host of the domain can set a cookie with that value
        f"a={OURS}",
        f'a="{OURS}"',
        f"a=b,{OURS}",
        f"a=b\t{OURS}",
        OURS.lower(),
        OURS.replace("=", " ="),
        OURS.replace("=", "-page="),
        f"{OURS}; {OURS}",
        f"{OURS};__Host-sitelatch=",
        "sitelatch-80=token",
    ],
)
def test_similar_cookies_are_not_taken_for_the_session_cookie(line: str) -> None:
    assert cookie_value([line], "keys.example") is None


@pytest.mark.parametrize("piece", [";", "; ", "a=b;", f";{OURS}", "__Host-sitelatch="])
def test_megabytes_of_cookies_are_searched_quickly(piece: str) -> None:
    """Parsing all of the cookies used to take four seconds, and blocked the front door as well."""
    lines = [piece * (19_000 // len(piece))] * 120
    with calls() as made:
        cookie_value(lines, "localhost:9091")
    assert made.total() < sum(map(len, lines)) / 10
