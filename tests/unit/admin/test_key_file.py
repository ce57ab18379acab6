"""Reading lists of existing keys: what each line means, and every error with its line."""

import base64
import secrets
import string
from hashlib import sha256

import pytest

from admin.api.existing_keys import is_weak
from admin.api.key_file import Defaults, KeyFile, read_key_file
from proxy.decision.api_keys import new_key

KEY = "kq3vT8-Zp1mX9wLr4sNc"
OTHER = "Wd7yBh2eRf5tGj8kUi0oPa"
DIGEST = sha256(KEY.encode()).digest()
ACME = Defaults("acme", all_sites=True)


def read(text: str, defaults: Defaults = ACME, *, allow_weak: bool = False) -> KeyFile:
    return read_key_file(text.encode(), defaults, allow_weak=allow_weak)


def faults(text: str, defaults: Defaults = ACME) -> list[str]:
    found = read(text, defaults)
    assert KEY not in str(found)
    return [str(fault) for fault in found.faults]


def test_csv_and_json_lines_give_the_same_keys() -> None:
    csv = f'key,workspace,sites,name,expires_at\n{KEY},acme,shop;blog,"Export, nightly",2027-01-31 00:00:00+01\n'
    lines = (
        f'{{"key": "{KEY}", "workspace": "acme", "sites": ["blog", "shop"], "name": "Export, nightly", '
        '"expires_at": "2027-01-30T23:00:00Z"}\n\n'
    )
    [listed], [same] = read(csv, Defaults()).keys, read(lines, Defaults()).keys
    assert listed._replace(line=1) == same._replace(line=1)
    assert (listed.digest, listed.sites, listed.all_sites) == (DIGEST, ("blog", "shop"), False)
    assert (listed.name, listed.hint) == ("Export, nightly", "…")


@pytest.mark.parametrize(
    "written",
    [
        DIGEST.hex(),
        DIGEST.hex().upper(),
        f"sha256:{DIGEST.hex()}",
        base64.b64encode(DIGEST).decode(),
        base64.b64encode(DIGEST).decode().rstrip("="),
        base64.urlsafe_b64encode(DIGEST).decode(),
        f"sha256-{base64.b64encode(DIGEST).decode()}",
    ],
)
def test_a_digest_is_read_in_hex_and_base64(written: str) -> None:
    [listed] = read(f"sha256\n{written}\n").keys
    assert (listed.digest, listed.key) == (DIGEST, None)
    assert listed.hint == f"sha256:{DIGEST.hex()[:4]}…{DIGEST.hex()[-4:]}"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("key,sites\n{KEY},shop\n,blog\n", "Line 3: The line must have either `key` or `sha256`."),
        ("key;name;expires\n{KEY};a;b\n", 'Line 1: The heading "expires" is unknown.'),
        ("name\nx\n", "Line 1: The first line must have the heading `key` or `sha256`."),
        ("key,key\n{KEY},{KEY}\n", "Line 1: A heading occurs twice."),
        ("key\n{KEY},x\n", "Line 2: The line has more columns than the first line."),
        ("key\nhas space in it, really\n", "Line 2: The line has more columns"),
        ("key\n\tkey with spaces in the middle\n", "Line 2: A key must have 1 to 1,000 printable ASCII"),
        ("key\nschlüssel-mit-umlauten-und-mehr\n", "Line 2: A key must have 1 to 1,000 printable ASCII"),
        ("key\nshort\n", "Line 2: The key is shorter than 20 characters, or has too little variety."),
        ("key\nslk_00000000000000000000000000000000000000\n", "Line 2: The key begins with `slk_`, but its checksum"),
        ("sha256\nabcdef\n", "Line 2: A SHA-256 must have 64 hexadecimal digits, or be 32 bytes in Base64."),
        (f"sha256\n{sha256(b'').hexdigest()}\n", "Line 2: This is the SHA-256 of an empty text"),
        ("key,expires_at\n{KEY},2027-01-31\n", "Line 2: `expires_at` must be a time with a UTC offset"),
        ("key,expires_at\n{KEY},soon\n", "Line 2: `expires_at` must be a time with a UTC offset"),
        ("key,all_sites\n{KEY},maybe\n", "Line 2: `all_sites` must be true or false."),
        ("key,all_sites,sites\n{KEY},yes,shop\n", "Line 2: The line has both `all_sites` and `sites`."),
        ("key,workspace\n{KEY},bad\u00e9\n", "Line 2: "),
        ("key,sites\n{KEY},shop\n{KEY},blog\n", "Line 3: The key in line 2 is the same, but its API user is not."),
        ('key\n"{KEY}\n', "Line 2: This is not valid CSV."),
        ('{"key": "{KEY}", "expires": "x"}\n', 'Line 1: "expires" is unknown.'),
        ('{"key": "{KEY}"}\n{"key"\n', "Line 2: The line is not a JSON object without duplicate names."),
        ('{"key": "{KEY}", "key": "x"}\n', "Line 1: The line is not a JSON object without duplicate names."),
        ('{"key": "{KEY}"}\n["{KEY}"]\n', "Line 2: The line is not a JSON object."),
        ('{"key": 12345678901234567890}\n', "Line 1: `key` and `sha256` must be text."),
        ('{"key": "{KEY}", "sites": "shop"}\n', "Line 1: `sites` must be a list of site ids"),
        ('{"key": "{KEY}", "expires_at": 1800000000}\n', "Line 1: `expires_at` must be a time with a UTC offset"),
        ('{"key": "{KEY}", "name": 7}\n', "Line 1: `name` must be text."),
        ("", "The file contains no keys."),
        ("key\n\n", "The file contains no keys."),
    ],
)
def test_each_error_is_reported_with_its_line(text: str, fault: str) -> None:
    [found] = faults(text.replace("{KEY}", KEY))
    assert found.startswith(fault), found


def test_a_line_needs_a_workspace_and_sites() -> None:
    assert faults(f"key\n{KEY}\n", Defaults())[0].startswith("Line 2: The line names no workspace.")
    assert faults(f"key\n{KEY}\n", Defaults("acme"))[0].startswith("Line 2: The line names no sites.")
    [listed] = read(f"key\n{KEY}\n", Defaults("acme", sites=("shop", "blog"))).keys
    assert (listed.workspace, listed.sites) == ("acme", ("blog", "shop"))
    [listed] = read(f"key,sites\n{KEY},docs\n", Defaults("acme", all_sites=True)).keys
    assert (listed.all_sites, listed.sites) == (False, ("docs",))


def test_the_same_line_twice_is_one_key() -> None:
    assert len(read(f"key\n{KEY}\n{KEY}\n{OTHER}\n").keys) == 2
    assert len(read(f"key,sha256\n{KEY},\n,{DIGEST.hex()}\n").keys) == 1


@pytest.mark.parametrize(
    "key",
    [
        "a" * 40,
        "secret" * 6,
        "0123456789" * 3,
        "abcdefghijklmnopqrstuvwxyz",
        "zyxwvutsrqponmlkjihgfedcba",
        "x" * 30 + "y",
        "1212121212121212121212121",
        "short-but-mixed-19c",
        "ababababababababababcdcdcdcdcdcdc",
    ],
)
def test_keys_that_can_be_guessed_are_weak(key: str) -> None:
    assert is_weak(key)
    assert not read(f"key\n{key}\n").keys
    assert read(f"key\n{key}\n", allow_weak=True).keys


def test_random_keys_of_usual_formats_are_not_weak() -> None:
    for _ in range(500):
        assert not is_weak(secrets.token_hex(16))
        assert not is_weak(secrets.token_urlsafe(18))
        assert not is_weak("".join(secrets.choice(string.digits) for _ in range(32)))
        assert not is_weak("".join(secrets.choice(string.ascii_lowercase) for _ in range(24)))
    assert not is_weak(new_key())
