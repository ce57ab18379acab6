"""Personal admin tokens."""

from admin.identity.admin_tokens import AdminTokens, new_token, token_digest
from admin.identity.admins import Admin, Person
from admin.settings import TokenSettings
from proxy.observe.redaction import mask


def test_a_token_finds_its_admin_and_workspaces() -> None:
    ada, ben = new_token(), new_token()
    tokens = AdminTokens(
        [
            TokenSettings(name="Ada", email="ada@example.com", sha256=token_digest(ada)),
            TokenSettings(name="Ben", email="ben@example.com", sha256=token_digest(ben), workspaces=("acme",)),
        ]
    )
    assert tokens.find(ada) == Admin(Person("Ada", "ada@example.com"))
    assert tokens.find(ben) == Admin(Person("Ben", "ben@example.com"), frozenset({"acme"}))


def test_wrong_tokens_find_no_admin() -> None:
    token = new_token()
    tokens = AdminTokens([TokenSettings(name="Ada", email="ada@example.com", sha256=token_digest(token))])
    for wrong in ("", " ", token[:-1], token + "x", token.swapcase(), token_digest(token), "\udcff", "é"):
        assert tokens.find(wrong) is None
    assert AdminTokens([]).find("") is None


def test_an_empty_list_of_workspaces_is_not_unlimited() -> None:
    token = new_token()
    settings = TokenSettings(name="Ada", email="ada@example.com", sha256=token_digest(token), workspaces=())
    found = AdminTokens([settings]).find(token)
    assert found is not None
    assert found.workspaces == frozenset()


def test_new_tokens_are_random_and_masked_in_logs() -> None:
    one, other = new_token(), new_token()
    assert one != other
    assert len(one) == len("sla_") + 43
    assert mask(one) == "***"
