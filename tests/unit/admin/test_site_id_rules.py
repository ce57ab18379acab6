"""The characters that a site id must not contain, as the documents and the page list them."""

import re
from pathlib import Path

import pytest

from admin.api.site_id_rules import FORBIDDEN, check_site_id
from admin.problems import Invalid

ROOT = Path(__file__).parents[3]


def test_the_page_on_sites_gives_the_reason_for_each_forbidden_character() -> None:
    page = (ROOT / "docs" / "keys-and-sites.md").read_text()
    rows = dict(re.findall(r"^\| `(.)` \| (.*) \|$", page, re.MULTILINE))
    assert rows.keys() == FORBIDDEN.keys()
    assert all(rows[letter].startswith(reason) for letter, reason in FORBIDDEN.items())


@pytest.mark.parametrize("file", ["README.md", "admin/static/sites.js"])
def test_the_readme_and_the_admin_page_list_the_forbidden_characters(file: str) -> None:
    assert " ".join(FORBIDDEN) in (ROOT / file).read_text().replace("\\\\", "\\")


@pytest.mark.parametrize("letter", FORBIDDEN)
def test_an_error_names_the_character_the_reason_and_all_others(letter: str) -> None:
    with pytest.raises(Invalid) as error:
        check_site_id(f"example.com{letter}blog")
    assert f'contains "{letter}", which {FORBIDDEN[letter]}.' in error.value.detail
    assert " ".join(FORBIDDEN) in error.value.detail
