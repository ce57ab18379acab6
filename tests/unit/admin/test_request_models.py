"""Parsing of large and invalid request bodies and queries."""

import json

import pytest
from multidict import MultiDict

from admin.api.request_models import EditUser, NewUser, NoQuery
from admin.api.request_parsing import read_body, read_query
from admin.problems import Invalid, Malformed
from tests.effort import calls

NUMBERS = b'{"workspace":"a","sites":[' + b"1," * 200_000 + b"1]}"
NAMES = b"{" + b",".join(b'"%x":0' % number for number in range(100_000)) + b"}"


@pytest.mark.parametrize(("body", "error"), [(NUMBERS, Invalid), (NAMES, Malformed)])
def test_a_body_full_of_errors_is_rejected_quickly(body: bytes, error: type[Exception]) -> None:
    """A body can contain ten times as many errors, which used to take a minute and blocked the front door as well."""
    with calls() as made, pytest.raises(error):
        read_body(NewUser, body)
    assert made.total() < 1000


def test_a_query_with_too_many_parameters_is_rejected_at_once() -> None:
    """A URL can contain two thousand parameters, which used to take as long as twenty other requests."""
    few, many = (MultiDict((f"a{number}", "") for number in range(count)) for count in (100, 101))
    with pytest.raises(Invalid) as refused:
        read_query(NoQuery, few)
    assert len(refused.value.faults) == 20
    with pytest.raises(Invalid, match="more than 100 parameters") as refused:
        read_query(NoQuery, many)
    assert refused.value.faults == ()


@pytest.mark.parametrize("inside", ["[]", "{}", '[["[{"]]', '{"a":{"b":[]}}', '"x",[ ]'])
def test_a_body_with_too_many_lists_is_rejected_before_it_is_parsed(inside: str) -> None:
    with pytest.raises(Invalid, match="must be text"):
        read_body(NewUser, f'{{"workspace":"a","sites":[{inside}]}}'.encode())
    with pytest.raises(Malformed, match="more than 100 lists and objects"):
        read_body(NewUser, f'{{"workspace":"a","sites":[{",".join([inside] * 100)}]}}'.encode())


@pytest.mark.parametrize("site", ["[]", "{{", '"[', '\\"[{', "\\", "[\\", '"', "é[", "\u2028{"])
@pytest.mark.parametrize("as_ascii", [True, False])
def test_brackets_in_strings_do_not_count_as_lists(site: str, as_ascii: bool) -> None:
    body = json.dumps({"workspace": "a", "sites": [site] * 500}, ensure_ascii=as_ascii)
    assert read_body(NewUser, body.encode()).sites == [site] * 500


@pytest.mark.parametrize("expires_at", [{}, [], 1764500000, True, "2026-11-30"])
def test_an_invalid_time_is_an_error_of_its_field(expires_at: object) -> None:
    with pytest.raises(Invalid, match='"expires_at" must be a time'):
        read_body(EditUser, json.dumps({"expires_at": expires_at}).encode())
