"""The validity and equality of site ids, and the names of a site."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.api.site_id_rules import FORBIDDEN, check_site_id
from admin.problems import Invalid
from proxy.decision.site_ids import by_folded_id, fold_site, folded_part, names_of


@pytest.mark.parametrize(
    "site_id", ["shop", "42", "blog.example.com", "Shop", "a b", "straße", "例え.jp", "{x}", "a+b&c=d", "it's", "a:b@c"]
)
def test_ids_that_requests_use_are_accepted(site_id: str) -> None:
    assert check_site_id(site_id) == fold_site(site_id)


@pytest.mark.parametrize(
    ("site_id", "said"),
    [
        ("", "must not be empty"),
        ("   ", "must not be empty"),
        (" shop", "begins or ends with a space"),
        ("shop\u00a0", "begins or ends with a space"),
        ("a/b", 'contains "/"'),
        ("a\\b", 'contains "\\"'),
        ("a;b", 'contains ";"'),
        ("a,b", 'contains ","'),
        ("100%", 'contains "%"'),
        ("a?b", 'contains "?"'),
        ("a#b", 'contains "#"'),
        ("a\uff0fb", 'contains "/"'),  # a full-width slash is a slash after NFKC
        ("a\u2100b", 'contains "/"'),  # ℀ contains one too
        ("a\uff1bb", 'contains ";"'),
        ("a\nb", "U+000A"),
        ("a\x00b", "U+0000"),
        ("a\x7fb", "U+007F"),
        ("a\u200bb", "U+200B"),  # two ids that look alike
        ("a\u202eb", "U+202E"),
        ("a\u2028b", "U+2028"),
        ("a\ud800b", "U+D800"),
        (".", "means a folder"),
        ("..", "means a folder"),
        ("\uff0e\uff0e", "means a folder"),
        ("x" * 256, "at most 255"),
    ],
)
def test_an_id_that_some_server_would_split_or_drop_is_refused_with_a_reason(site_id: str, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_site_id(site_id, "sites", 3)
    [fault] = refused.value.faults
    assert said in fault.detail
    assert fault.place == ("sites", 3)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("shop", "SHOP"),
        ("shop", "ｓｈｏｐ"),
        ("straße", "STRASSE"),
        ("é", "e\u0301"),
        ("ﬁ", "fi"),
        ("İ", "i̇"),
        ("ϔ", "ϋ"),
    ],
)
def test_ids_that_differ_only_in_case_or_width_fold_alike(one: str, other: str) -> None:
    assert fold_site(one) == fold_site(other)


def test_text_longer_than_a_site_id_is_not_folded() -> None:
    """Sorting a megabyte of accents takes hours and would block the process."""
    assert fold_site("\u0315\u0300") == "\u0300\u0315"
    long = "\u0315\u0300" * 500_000
    assert fold_site(long[:256]) == long[:256]
    assert fold_site(long) == long


@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold_site(fold_site(text)) == fold_site(text)


@given(st.text(max_size=30))
def test_an_accepted_id_contains_no_forbidden_character_even_when_folded(site_id: str) -> None:
    try:
        folded = check_site_id(site_id)
    except Invalid:
        return
    assert not set(FORBIDDEN) & set(site_id + folded)
    assert site_id.strip() == site_id != ""


def test_a_host_in_any_case_names_the_same_site() -> None:
    assert by_folded_id("shop") == by_folded_id("SHOP") == by_folded_id("Shop") == "/shop"
    assert names_of("Shop") == ("Shop", "/shop")
    assert folded_part("/shop") == "shop"
    assert folded_part("Shop") is None


@given(st.text(max_size=30))
def test_the_internal_name_for_a_folded_id_is_never_an_accepted_id(site_id: str) -> None:
    try:
        check_site_id(by_folded_id(site_id))
    except Invalid:
        return
    raise AssertionError(by_folded_id(site_id))
