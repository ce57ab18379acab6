"""The allow list, which decides whether a signed-in person is an admin."""

from typing import Any

import pytest
from pydantic import ValidationError

from admin.identity.admins import Person
from admin.identity.allow_list import AllowList, rule
from admin.settings import AllowSettings

ADA = {"sub": "1", "name": "Ada", "email": "Ada@Example.com", "email_verified": True}


def allow_list(*tables: dict[str, Any]) -> AllowList:
    return AllowList(rule(AllowSettings(**table)) for table in tables)


BY_EMAIL = allow_list({"emails": ["ada@example.COM"]})
BY_DOMAIN = allow_list({"domains": ["Example.com"]})
BY_GROUP = allow_list({"claim": "groups", "values": ["admins", "owners"]})


@pytest.mark.parametrize("allowed", [BY_EMAIL, BY_DOMAIN])
def test_a_verified_email_matches_case_insensitively(allowed: AllowList) -> None:
    admin = allowed.admit(ADA)
    assert admin is not None
    assert admin.person == Person("Ada", "Ada@Example.com")
    assert admin.workspaces is None
    assert allowed.admit({**ADA, "email_verified": "true"})  # some issuers send text


@pytest.mark.parametrize("allowed", [BY_EMAIL, BY_DOMAIN])
@pytest.mark.parametrize(
    "claims",
    [
        {},
        {**ADA, "email_verified": False},
        {**ADA, "email_verified": None},
        {**ADA, "email_verified": "false"},
        {**ADA, "email_verified": "yes"},
        {**ADA, "email_verified": 1},
        {**ADA, "email_verified": [True]},
        {"sub": "1", "email": "ada@example.com"},
        {**ADA, "email": "ada@example.com.evil.example"},
        {**ADA, "email": "ada@evil.example"},
        {**ADA, "email": "ada@sub.example.com"},
        {**ADA, "email": "ada@evil.example@example.com"},
        {**ADA, "email": '"ada@example.com"@evil.example'},
        {**ADA, "email": "ada@example.com "},
        {**ADA, "email": "ada@example.com\n"},
        {**ADA, "email": "ada@example。com"},
        {**ADA, "email": "ada@Example.com".replace("x", "\u00d7")},
        {**ADA, "email": ["ada@example.com"]},
        {**ADA, "email": None},
        {"sub": "ada@example.com", "name": "ada@example.com", "preferred_username": "ada@example.com"},
    ],
)
def test_other_and_unverified_emails_do_not_match(allowed: AllowList, claims: dict[str, Any]) -> None:
    assert allowed.admit(claims) is None


def test_only_ascii_letters_are_case_folded() -> None:
    assert allow_list({"emails": ["k@example.com"]}).admit({**ADA, "email": "\u212a@example.com"}) is None


@pytest.mark.parametrize("value", ["admins", ["staff", "admins"], ["owners"]])
def test_a_claim_matches_by_value(value: object) -> None:
    assert BY_GROUP.admit({**ADA, "groups": value})


@pytest.mark.parametrize(
    "value",
    ["Admins", "admin", "admins owners", "admins,owners", [], ["staff"], [["admins"]], {"admins": 1}, None, True],
)
def test_other_values_of_a_claim_do_not_match(value: object) -> None:
    assert BY_GROUP.admit({**ADA, "groups": value}) is None


def test_an_admin_is_never_named_after_an_unverified_email() -> None:
    claims = {"sub": "1", "email": "boss@example.com", "groups": "admins"}
    admin = BY_GROUP.admit(claims)
    assert admin is not None
    assert admin.person == Person("1", "1")
    admin = BY_GROUP.admit({**claims, "name": "Ada \x00"})
    assert admin is not None
    assert admin.person.name == "1"
    admin = BY_GROUP.admit({**claims, "email": "ada\x00@example.com", "email_verified": True})
    assert admin is not None
    assert admin.person.email == "1"
    assert BY_GROUP.admit({"groups": "admins"}) is None  # the audit log would have no name
    assert BY_GROUP.admit({"groups": "admins", "sub": " "}) is None


@pytest.mark.parametrize(
    ("allowed", "claims", "reason"),
    [
        (BY_EMAIL, {**ADA, "email": "eve@example.com"}, "not_listed"),
        (BY_EMAIL, {**ADA, "email_verified": False}, "email_not_verified"),
        (BY_EMAIL, {**ADA, "email_verified": "no"}, "email_not_verified"),
        (BY_EMAIL, {"sub": "1", "email": "ada@example.com"}, "email_verified_missing"),
        (BY_EMAIL, {**ADA, "email_verified": None}, "email_verified_missing"),
        # A person learns nothing about who is listed from the reason.
        (BY_EMAIL, {**ADA, "email": "eve@example.com", "email_verified": False}, "email_not_verified"),
        (BY_EMAIL, {"sub": "1"}, "no_email"),
        (BY_EMAIL, {**ADA, "email": ""}, "no_email"),
        (BY_DOMAIN, {**ADA, "email": None}, "no_email"),
        (BY_DOMAIN, {**ADA, "email": "a@b@example.com"}, "invalid_email"),
        (BY_DOMAIN, {**ADA, "email": ["ada@example.com"]}, "invalid_email"),
        (BY_DOMAIN, {**ADA, "email": 7}, "invalid_email"),
        (BY_DOMAIN, {**ADA, "email": "ada\x00@example.com"}, "invalid_email"),
        (BY_DOMAIN, {**ADA, "email": "a" * 200 + "@example.com"}, "invalid_email"),
        (BY_GROUP, {**ADA, "groups": ["staff"]}, "not_listed"),
        (BY_GROUP, ADA, "claim_missing"),
        (BY_GROUP, {"groups": ["admins"]}, "no_subject"),
        (BY_GROUP, {}, "no_subject"),
    ],
)
def test_a_rejection_has_the_reason_that_the_person_can_act_on(
    allowed: AllowList, claims: dict[str, Any], reason: str
) -> None:
    assert allowed.admit(claims) is None
    assert allowed.rejection(claims).reason == reason


@pytest.mark.parametrize(
    ("claims", "shown"),
    [
        (ADA, "A***@Example.com"),
        ({"sub": "7f1c"}, "7f1c"),
        ({"sub": "ada@example.com"}, "a***@example.com"),
        ({"email": "@example.com"}, "***@example.com"),
        ({"email": ["x"], "sub": "1"}, "1"),
        ({}, None),
    ],
)
def test_the_local_part_of_an_email_is_masked(claims: dict[str, Any], shown: str | None) -> None:
    assert BY_EMAIL.rejection(claims).person == shown


def test_a_rejection_lists_the_claims_that_were_not_sent() -> None:
    assert BY_GROUP.rejection(ADA).missing_claims == ("groups",)


def test_an_admin_gets_the_workspaces_of_all_matching_rules() -> None:
    tables: list[dict[str, Any]] = [
        {"domains": ["example.com"], "workspaces": ["acme"]},
        {"claim": "groups", "values": ["admins"], "workspaces": ["globex"]},
        {"emails": ["eve@example.com"]},
        {"claim": "groups", "values": ["nobodies"], "workspaces": []},
    ]
    allowed = allow_list(*tables)

    def workspaces_of(**claims: Any) -> frozenset[str] | None:
        admin = allowed.admit({**ADA, **claims})
        assert admin is not None
        return admin.workspaces

    assert workspaces_of() == frozenset({"acme"})
    assert workspaces_of(groups=["admins"]) == frozenset({"acme", "globex"})
    assert workspaces_of(email="eve@example.com") is None
    assert workspaces_of(email="eve@elsewhere.example", groups=["nobodies"]) == frozenset()


def test_only_relevant_claims_are_kept() -> None:
    claims = {**ADA, "groups": ["admins"], "phone_number": "1", "at_hash": "x"}
    assert set(BY_GROUP.relevant_claims(claims)) == {*ADA, "groups"}
    assert BY_GROUP.needs_more(ADA)
    assert BY_EMAIL.needs_more({"sub": "1", "name": "Ada", "email": "ada@example.com"})
    assert not BY_EMAIL.needs_more(ADA)
    assert not BY_GROUP.needs_more(claims)


def test_only_storable_values_of_claims_are_kept() -> None:
    claims = {**ADA, "name": "Ada \x00", "groups": ["admins", "\ud800", 1, ["x"], "\x00"], "email_verified": "true"}
    kept = BY_GROUP.relevant_claims(claims)
    assert kept == {**ADA, "name": None, "groups": ["admins"], "email_verified": "true"}
    assert BY_GROUP.admit(kept) == BY_GROUP.admit(claims)
    assert BY_GROUP.relevant_claims({**ADA, "groups": {"admins": float("nan")}})["groups"] is None


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"workspaces": ["acme"]},
        {"emails": []},
        {"claim": "groups"},
        {"values": ["admins"]},
        {"claim": "groups", "values": []},
        {"emails": ["a@b.c"], "domains": ["b.c"]},
        {"domains": ["b.c"], "claim": "groups", "values": ["x"]},
        {"emails": ["example.com"]},
        {"emails": ["@example.com"]},
        {"emails": ["a@b@c"]},
        {"domains": ["@example.com"]},
        {"domains": ["*.example.com"]},
        {"domains": [".example.com"]},
        {"domains": [""]},
        {"claim": "groups", "values": [""]},
    ],
)
def test_an_allow_table_needs_exactly_one_criterion(table: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AllowSettings(**table)
