"""Collation of site ids: ids that are treated as equal, and ids that stay distinct."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.api.site_collation import collate_site
from proxy.decision.site_ids import MAX_LENGTH, fold_site


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cafe", "café"),
        ("cafe", "CAFE\u0301"),
        ("isik", "ışık"),
        ("istanbul", "İstanbul"),
        ("my shop", "my+shop"),
        ("my shop", "my  shop"),
        ("my shop", "my\u00a0shop"),
        ("my shop", "my + shop"),
        ("shop", "shop+"),
        ("strasse", "straße"),
        ("oere", "œre"),
        ("aero", "ærø"),
        ("lodz", "Łódź"),
        ("dakovo", "Đakovo"),
        ("thorn", "þorn"),
        ("collegi", "col·legi"),
        ("еж", "ёж"),
        ("ωμεγα", "ὠμέγα"),
        ("site3", "site٣"),
        ("site10", "site⑩"),
        ("site10", "site❿"),
        ("shopa", "shop🅰"),
        ("さくら", "サクラ"),
        ("さくら", "さぐら"),
        ("きよ", "きょ"),
        ("שלומ", "שָׁלוֹם"),
        ("محمد", "مُحَمَّد"),
        ("कस", "कंस"),
        ("shop", "shop\ufe0f"),
        ("shop🍣", "shop🍺"),  # equal in utf8mb4_general_ci, because both are beyond U+FFFF
        ("shop", "ｓｈｏｐ"),
    ],
)
def test_ids_that_some_data_service_treats_as_equal_collate_as_equal(one: str, other: str) -> None:
    assert collate_site(one) == collate_site(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("shop", "shops"),
        ("bos", "boss"),
        ("my shop", "myshop"),
        ("my-shop", "my_shop"),
        ("my.shop", "my shop"),
        ("1", "01"),
        ("12", "21"),
        ("กิน", "กัน"),  # vowels, though they are marks too
        ("कुल", "कल"),
        ("क", "क्"),
        ("東京", "京都"),
        ("さくら", "さくらん"),
        ("ひかり", "ひかる"),
        ("한글", "한국"),
    ],
)
def test_ids_that_every_data_service_distinguishes_stay_distinct(one: str, other: str) -> None:
    assert collate_site(one) != collate_site(other)


@given(st.text(max_size=20), st.text(max_size=20))
def test_ids_with_equal_folds_collate_equally(one: str, other: str) -> None:
    assert collate_site(one) == collate_site(fold_site(one))
    assert fold_site(one) != fold_site(other) or collate_site(one) == collate_site(other)


def test_the_longest_ids_collate_quickly() -> None:
    worst = [letter * MAX_LENGTH for letter in ("a", "+", "\ufdfa", "\u1e69", "🍣", "\u0315\u0300"[:1], "l·"[:1])]
    started = time.process_time()
    for _ in range(10):
        for site in worst:
            collate_site(site)
    assert time.process_time() - started < 10 * len(worst) * 0.02
