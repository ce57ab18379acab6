"""Which texts are email addresses."""

import pytest

from admin.problems import Invalid
from admin.text_rules import check_email, is_email

ADDRESSES = (
    "ada@example.com",
    "Ada.Lovelace+api@sub.example.co.uk",
    "o'brien_99%x=y@example.com",
    "a@b.c",
    "root@localhost",
    "1@1.example",
    "ada@xn--exmple-cua.com",
    "jörg@exämple.de",
    "用户@例子.公司",
    "उपयोगकर्ता@उदाहरण.भारत",
    f"{'x' * 64}@example.com",
    f"ada@{'x' * 63}.example",
)
OTHER_TEXTS = (
    "",
    "ada",
    "@",
    "ada@",
    "@example.com",
    "example.com",
    "ada@example@example.com",
    "ada@@example.com",
    "ada @example.com",
    "ada@ example.com",
    " ada@example.com",
    "ada@example.com\n",
    "ada@exam\x00ple.com",
    "ada\u200b@example.com",
    "ada\u00a0@example.com",
    "\u202emoc.elpmaxe@ada",
    "ada@example..com",
    "ada@.example.com",
    "ada@example.com.",
    "ada@example。com",
    "ada@-example.com",
    "ada@example-.com",
    "ada@exam_ple.com",
    "ada@example.com,ben@example.com",
    "ada@example.com;ben@example.com",
    "Ada <ada@example.com>",
    "mailto:ada@example.com",
    ".ada@example.com",
    "ada.@example.com",
    "a..b@example.com",
    '"ada"@example.com',
    "ada@[127.0.0.1]",
    "ada@example.com/x",
    "ada@example.com:25",
    f"{'x' * 65}@example.com",
    f"ada@{'x' * 64}.example",
    f"ada@{'x.' * 130}example",
    "\udcff@example.com",
)


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_email_address_is_accepted(text: str) -> None:
    assert is_email(text)
    assert check_email(text) == text


@pytest.mark.parametrize("text", OTHER_TEXTS)
def test_a_text_that_is_not_an_email_address_is_refused(text: str) -> None:
    assert not is_email(text)
    with pytest.raises(Invalid, match="must be an email address"):
        check_email(text)


def test_an_address_without_a_dot_is_refused_only_from_a_person_who_enters_it() -> None:
    assert is_email("ada@example")
    with pytest.raises(Invalid):
        check_email("ada@example")


def test_a_long_text_is_refused_without_reading_all_of_it() -> None:
    assert not is_email("a@" + "a-" * 1_000_000)
