"""The static files of the admin page."""

import gzip
import re
from collections import Counter
from importlib.resources import files

import pytest

from admin.static_files import find_static_file, static_file


def test_no_two_elements_of_the_page_have_the_same_id() -> None:
    page = (files("admin") / "static" / "index.html").read_text()
    ids = Counter(re.findall(r'\bid="([^"]+)"', page))
    assert [each for each, count in ids.items() if count > 1] == []


def test_a_file_is_found_by_its_hashed_name_and_by_older_names() -> None:
    file = static_file("app.js")
    assert find_static_file(f"app.{file.version}.js") == (file, True)
    for name in ("app.js", f"app.{'0' * 16}.js"):
        assert find_static_file(name) == (file, False)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "app", "app.", ".js", "nope.js", "app.0.js", "../app.py", "app.js/", "app..js", "index.html"],
)
def test_no_other_name_leads_to_a_file(name: str) -> None:
    assert find_static_file(name) is None


def test_the_hash_of_a_module_changes_with_the_modules_that_it_imports() -> None:
    importer, imported = static_file("app.js"), static_file("api.js")
    assert f'"./api.{imported.version}.js"' in importer.content.decode()
    assert '"./api.js"' not in importer.content.decode()


@pytest.mark.parametrize("name", ["app.js", "page.css", "icon.svg"])
def test_the_compressed_content_is_equal(name: str) -> None:
    assert gzip.decompress(static_file(name).compressed) == static_file(name).content
