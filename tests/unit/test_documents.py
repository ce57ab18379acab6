"""The pages of the documentation: links, anchors, and the files that they name."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sitelatch.config_file import load

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "tests" / "backends" / "README.md"],
    key=lambda page: page.relative_to(ROOT).as_posix(),
)
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(\s*<?([^)>\s]+)>?[^)]*\)|\b(?:href|src)=\"([^\"]+)\"")
_HEADING = re.compile(r"^#{1,6} +(.*?) *#*$", re.MULTILINE)


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in _HEADING.findall(prose(page)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        anchor = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        number = 0
        while (unique := f"{anchor}-{number}" if number else anchor) in found:
            number += 1
        found.add(unique)
    return found


def relative_links(page: Path) -> Iterator[str]:
    """Yield the targets of a page's links that lead into this repository."""
    for target, attribute in _LINK.findall(_CODE.sub("", prose(page))):
        link = target or attribute
        if not re.match(r"[a-z]+:", link):
            yield link


def broken_links(page: Path) -> list[str]:
    """Return the relative links of a page whose file or anchor does not exist."""
    broken = []
    for link in relative_links(page):
        name, _, anchor = link.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and (file.suffix != ".md" or anchor not in anchors(file))):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_link_to_a_missing_file_or_heading_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One heading\n\n[here](#one-heading) [gone](#another) [file](page.md#one-heading) [lost](lost.md)\n"
        "`[code](nowhere.md)` <https://example.com> [web](https://example.com/x)\n"
    )
    assert broken_links(page) == ["#another", "lost.md"]


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        waiting += [(page.parent / link.partition("#")[0]).resolve() for link in relative_links(page) if link[0] != "#"]
    assert set(PAGES) <= reached


def test_the_readme_is_short_enough_for_a_newcomer() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 180


ARCHITECTURE = ROOT / "docs" / "architecture.md"
PACKAGES = ("proxy", "admin", "sql", "sitelatch")
FILE = r"[\w.-]+\.(?:py|sql|js|html|css)"


def sections(page: Path) -> dict[str, str]:
    """Map each folder that a heading of the page names to the text below that heading."""
    parts = re.split(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {
        heading.strip("`/"): text
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
        if re.fullmatch(r"`[\w/]+/`", heading)
    }


def test_the_architecture_page_describes_every_folder() -> None:
    folders = {
        file.parent.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if re.fullmatch(FILE, file.name)
    }
    assert sections(ARCHITECTURE).keys() == folders


def test_the_architecture_page_names_modules_that_exist_in_the_folder_it_describes() -> None:
    missing = [
        f"{folder}/{name}"
        for folder, text in sections(ARCHITECTURE).items()
        for name in re.findall(rf"`({FILE})`", text)
        if not (ROOT / folder / name).is_file()
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_repository_paths_named_on_a_page_exist(page: Path) -> None:
    folders = "|".join((*PACKAGES, "tests", "bench", "docs"))
    paths = re.findall(rf"`((?:{folders})/[\w./-]*)`", prose(page))
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_architecture_page_can_be_read_in_one_sitting() -> None:
    assert len(ARCHITECTURE.read_text(encoding="utf-8").splitlines()) <= 330


CONFIGS = [
    pytest.param(text, id=f"{page.relative_to(ROOT).as_posix()}-{number}")
    for page in PAGES
    for number, text in enumerate(re.findall(r"^```toml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL), 1)
]
A_ROUTE = '\n[[proxy.routes]]\nname = "data"\nupstream = "http://127.0.0.1:9000"\n'


@pytest.mark.parametrize("text", CONFIGS)
def test_every_config_on_a_page_is_valid(text: str, tmp_path: Path) -> None:
    """A part of a config is valid together with a route."""
    if "[[proxy.routes]]" not in text:
        text = A_ROUTE + text if text.startswith("[proxy.routes.") else text + A_ROUTE
    file = tmp_path / "sitelatch.toml"
    file.write_text(text)
    load(file, {})
