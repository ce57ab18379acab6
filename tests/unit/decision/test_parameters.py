"""Parameters are found in every spelling of their names, and in every way of splitting a query."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.decision.parameter_finder import Finder
from proxy.decision.parameter_names import Name
from proxy.decision.queries import Query
from proxy.decision.value_readings import value_readings
from proxy.refusals import Refused

_TOKENS = [
    *(
        "site",
        "SITE",
        "Site",
        "si",
        "te",
        "_id",
        "&",
        "=",
        ";",
        "?",
        "%",
        "25",
        "73",
        "[",
        "]",
        "+",
        ".",
        "%00",
        "%FF",
        "%01",
        "a",
    ),
    *("1", "shop"),
]
QUERIES = st.lists(st.sampled_from(_TOKENS), max_size=12).map(lambda tokens: "".join(tokens).encode())
NAMES = ["site", "site_id", "site.id", "s[ite]", "$site"]


def found(query: bytes, *names: str) -> list[bytes]:
    finder = Finder([Name(name) for name in names])
    return [query[at.start : at.end] for at in finder.find(finder.split(query))]


def parsed(raw: bytes) -> Query:
    finder = Finder([Name("site")])
    return Query(finder.split(raw), finder)


@given(QUERIES, st.sampled_from(NAMES))
def test_the_shortcut_for_plain_queries_misses_no_parameter(query: bytes, name: str) -> None:
    finder = Finder([Name(name)])
    if finder.is_silent(query):
        assert finder.find(finder.split(query)) == []


@given(st.lists(st.sampled_from([*_TOKENS, "site=shop", "&", "&", "b=1"]), max_size=12).map("".join))
def test_the_shortcut_for_one_plain_parameter_finds_what_the_whole_search_finds(text: str) -> None:
    finder = Finder([Name("site"), Name("site_id")])
    only = finder.glance(text.encode())
    if only:
        [split] = Query(finder.split(text.encode()), finder).splits
        assert [(each.name, each.value) for each in split] == [only]


@given(QUERIES, st.sampled_from(NAMES))
def test_searching_the_whole_query_finds_the_same_names_as_reading_each_one(query: bytes, name: str) -> None:
    wanted = Name(name)
    finest = query.replace(b";", b"&").replace(b"?", b"&").split(b"&")
    try:
        one_by_one = [piece for piece in (each.partition(b"=")[0] for each in finest) if wanted.means(piece)]
    except Refused:
        with pytest.raises(Refused):
            found(query, name)
        return
    assert found(query, name) == one_by_one


@pytest.mark.parametrize(
    ("query", "only"),
    [
        (b"site=shop", (b"site", b"shop")),
        (b"a=1&SITE=shop&b", (b"SITE", b"shop")),
        (b"a&b=c%20d&", ()),
        (b"site=shop&site=shop", None),
        (b"site=sh%6Fp", None),
        (b"site=shop;a=1", None),
        (b"a=1;site=shop", None),
        (b"site", None),
        (b"a.b=1&site=shop", None),
        (b"a&" * 100 + b"site=shop", None),
        (b"site=" + b"a" * 600, None),
    ],
)
def test_the_shortcut_finds_one_plain_parameter(query: bytes, only: object) -> None:
    assert Finder([Name("site")]).glance(query) == only


@pytest.mark.parametrize(
    ("query", "silent"),
    [
        (b"from=2026-01-01&to=now%2B1h&q=a+b%0A[]", True),
        (b"sites=a&xsite&site2=b&s=ite", True),
        (b"&&a&=", True),
        (b"site=a", False),
        (b"a=1&SITE", False),
        (b"a=1;b=2", False),
        (b"%73ite=a", False),
        (b"a[b]=1", False),  # the shortcut does not decide this: the full search does
    ],
)
def test_the_shortcut_recognizes_plain_queries_without_the_parameter(query: bytes, silent: bool) -> None:
    assert Finder([Name("site")]).is_silent(query) is silent


@pytest.mark.parametrize(
    "name",
    [
        *(b"site", b"SITE", b"%73ite", b"%2573ite", b"+site", b"site[]", b"site%5b0", b"site%00x", b"%c5%bfite"),
        *(b"[site]", b"]site", b"site]", b"[[site]]", b"%5Dsite", b"[]site"),  # Rack reads all as `site`, qs the first
        *(b"?site", b"%20%0asite", b"site%20", b"site[a][b]", b"%u0073ite"),
        *(b".site", b"%2esite", b".site[0]"),  # qs with `allowDots`
    ],
)
def test_a_spelling_that_some_backend_reads_as_the_name_is_found(name: bytes) -> None:
    assert Name("site").means(name)
    assert found(b"a=1&" + name + b"=2", "site")


@pytest.mark.parametrize(
    "name",
    [b"sites", b"xsite", b"si te", b"site2", b"", b"s.ite", b"[sites]", b"a[site]", b"si]te", b"site_", b"_site"],
)
def test_a_spelling_that_no_backend_reads_as_the_name_is_ignored(name: bytes) -> None:
    assert not Name("site").means(name)


@pytest.mark.parametrize(
    "name", [b"site_id", b"site.id", b"site%20id", b"site+id", b"site[id", b"SITE.ID", b"+site_id[]"]
)
def test_php_reads_dots_spaces_and_open_brackets_as_underscores(name: bytes) -> None:
    assert Name("site_id").means(name)


def test_php_reads_a_dot_that_begins_a_name_as_an_underscore() -> None:
    assert Name("_method").means(b".method")
    assert Name("_method").means(b"._method")  # qs with `allowDots`


def test_php_does_not_read_a_closed_bracket_as_an_underscore() -> None:
    assert not Name("site_id").means(b"site[id]")


@pytest.mark.parametrize(
    ("rule", "raw", "literal"),
    [
        ("site", b"site", True),
        ("site", b"s%69te", False),
        ("site", b"Site", False),
        ("filter[site]", b"filter[site]", True),
        ("filter[site]", b"filter%5Bsite%5D", True),
        ("filter[site]", b"filter%5bsite%5d", True),
        ("filter[site]", b"filter%255Bsite%255D", False),
        ("filter[site]", b"f%69lter[site]", False),
        ("$filter", b"%24filter", True),
        ("$filter", b"$filter", True),
        ("größe", b"gr%C3%B6%c3%9fe", True),
        ("größe", "größe".encode(), False),
    ],
)
def test_only_reserved_characters_may_be_encoded_in_a_literal_name(rule: str, raw: bytes, literal: bool) -> None:
    assert Name(rule).is_literal(raw) is literal


@pytest.mark.parametrize("raw", [b"site", b"site[]", b"site[0]", b"site%5B12%5D"])
def test_an_array_rule_treats_indexes_as_literal_names(raw: bytes) -> None:
    assert Name("site", array=True).is_literal(raw)


@pytest.mark.parametrize("raw", [b"site[x]", b"site[0][1]", b"site[-1]", b"site[[0]]", b"site[1000]"])
def test_an_array_rule_treats_nothing_else_as_a_literal_name(raw: bytes) -> None:
    name = Name("site", array=True)
    assert not name.is_literal(raw)
    assert name.means(raw)


def test_a_scalar_parameter_replaces_the_map_of_the_same_name() -> None:
    name = Name("filter[site]")
    assert name.replaces(b"filter")
    assert name.replaces(b"FILTER%00x")
    assert not name.replaces(b"filter[site]")
    assert not name.replaces(b"filters")
    assert not Name("site").replaces(b"site")


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (b"filter[site]=shop&filter=x&a%41=1", [b"filter[site]", b"filter"]),
        (b"filter=x&filter[site]=shop&a%41=1", [b"filter", b"filter[site]"]),
        (b"a%41=1&f%69lter&filter[site]=shop", [b"f%69lter", b"filter[site]"]),
        (b"b=1;filter&a%41", [b"filter"]),
    ],
)
def test_a_scalar_parameter_is_found_next_to_encoded_names(query: bytes, names: list[bytes]) -> None:
    assert found(query, "filter[site]") == names


def test_a_bracket_in_a_value_does_not_close_one_in_a_name() -> None:
    assert found(b"site[id=a]&x=1", "site_id") == [b"site[id"]  # PHP reads `site_id`
    assert found(b"site[id]=a&x=1", "site_id") == []


@pytest.mark.parametrize("depth", range(4))
def test_a_name_is_found_in_every_depth_of_decoding(depth: int) -> None:
    percent = b"%" + b"25" * depth
    for name in (b"site", b"site[0]", b"site_id", b"[site]", b".site"):
        encoded = b"".join(percent + b"%02x" % byte for byte in name)
        assert found(b"a=1&" + encoded + b"=2&b=3", "site", "site_id") == [encoded]


def test_a_query_is_split_in_every_way_that_some_backend_uses() -> None:
    query = parsed(b"q=1;site=a?site=b&site=c")
    splits = [[(parameter.name, parameter.value) for parameter in split] for split in query.splits]
    assert splits == [
        [(b"site", b"c")],
        [(b"site", b"a?site=b"), (b"site", b"c")],
        [(b"site", b"a"), (b"site", b"b"), (b"site", b"c")],
    ]


def test_the_names_of_a_table_with_forty_columns_pass() -> None:
    # DataTables sends six such names for each column.
    odd = b"&".join(b"columns%%5B%d%%5D%%5Bdata%%5D=x" % number for number in range(240))
    assert found(odd + b"&site=shop", "site") == [b"site"]
    assert found(odd + b"&[site]=shop", "site") == [b"[site]"]
    assert found(b"&".join([b"ids[]=1"] * 900) + b"&site=shop", "site") == [b"site"]
    assert found(b"&".join(b"a[%d]=x" % number for number in range(900)) + b"&site[]=a", "site") == [b"site[]"]


@pytest.mark.parametrize(
    "query",
    [
        b"&".join(b"%%61%d=x" % number for number in range(1001)),
        b"&".join(b"%%cc%%b4%%cc%%81%d=x" % number for number in range(200)),
        b"&".join(b"a%%ff%d=x" % number for number in range(200)),
        b"&".join([b"a=x"] * 1001),
        b"&".join([b"site=a%20b"] * 17),
        b"&".join([b"site=a"] * 17) + b";x=1",
        b"&".join([b"site=a%2562"] * 5),
    ],
)
def test_the_number_of_parameters_that_are_read_is_bounded(query: bytes) -> None:
    with pytest.raises(Refused):
        parsed(query)


def test_a_parameter_that_is_repeated_too_often_is_refused() -> None:
    assert len(found(b"&".join([b"site=a"] * 64), "site")) == 64
    with pytest.raises(Refused):
        found(b"&".join([b"site=a"] * 65), "site")


@pytest.mark.parametrize(
    ("raw", "literal", "form", "deeper"),
    [
        (b"a", "a", "a", set()),
        (b"a%2Bb", "a+b", "a+b", set()),
        (b"a+b", "a+b", "a b", set()),
        (b"a%2Bb+c", "a+b+c", "a+b c", set()),
        (b"%2541", "%41", "%41", {"A"}),
        (b"100%25", "100%", "100%", set()),
        (b"%u0041", "%u0041", "%u0041", {"A"}),
    ],
)
def test_a_value_has_a_literal_a_form_and_further_decoded_readings(
    raw: bytes, literal: str, form: str, deeper: set[str]
) -> None:
    value = value_readings(raw)
    assert (value.literal, value.form, set(value.deeper)) == (literal, form, deeper)


def test_a_value_that_a_rule_reads_must_be_ascii() -> None:
    with pytest.raises(Refused) as refused:
        parsed("site=café".encode())
    assert refused.value.refusal.code == "bad_request"


def test_encoded_values_are_counted_in_every_way_of_splitting() -> None:
    assert len(parsed(b";site=%2541&" * 4).splits[1]) == 1
    with pytest.raises(Refused, match="ambiguous_request"):
        parsed(b"".join(b";site=%%2541%d&" % number for number in range(5)))
