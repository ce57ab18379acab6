"""Lists of sites in files: the formats that people and spreadsheet programs write, and one message for each fault."""

import codecs
import csv
import io
from pathlib import Path

import pytest

from admin.api.site_file import SiteFile, read_site_file

SHEET = (
    ("Workspace", "Display Name", "Site", "Notes"),
    ("acme", 'Café, der "große"', "shop", "first\nsecond"),
    ("acme", "Blog; news", "blog", ""),
    ("", "", "0042", "x"),
)
SITES = [("shop", "acme", 'Café, der "große"'), ("blog", "acme", "Blog; news"), ("0042", "globex", None)]
SPREADSHEETS = sorted((Path(__file__).parent / "spreadsheets").iterdir())
"""SHEET, as LibreOffice 7.4 exports it. The names tell the options of the export."""


def sites(file: SiteFile) -> list[tuple[str, str, str | None]]:
    assert file.faults == ()
    return [(site.id, site.workspace, site.display_name) for site in file.sites]


def faults(content: bytes | str, workspace: str | None = None) -> list[str]:
    return [str(fault) for fault in read_site_file(content, workspace=workspace).faults]


@pytest.mark.parametrize("path", SPREADSHEETS, ids=lambda path: path.stem)
def test_files_that_libreoffice_exports_are_read(path: Path) -> None:
    file = read_site_file(path.read_bytes(), workspace="globex")
    assert sites(file) == SITES
    assert file.ignored_columns == ("Notes",)
    assert path.stem.startswith(f"libreoffice-{file.encoding}")
    assert [site.line for site in file.sites] == [2, 4, 5]


@pytest.mark.parametrize(
    ("encoding", "read_as"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16"),
        ("utf-16-be", "utf-16"),
        ("utf-32", "utf-32"),
        ("latin-1", "windows-1252"),
        ("cp1252", "windows-1252"),
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("dialect", ["excel", "unix"])
def test_files_that_python_writes_in_any_encoding_and_dialect_are_read(
    encoding: str, read_as: str, delimiter: str, dialect: str
) -> None:
    written = io.StringIO(newline="")
    csv.writer(written, dialect, delimiter=delimiter).writerows(SHEET)
    file = read_site_file(written.getvalue().encode(encoding), workspace="globex")
    assert sites(file) == SITES
    assert (file.ignored_columns, file.encoding) == (("Notes",), read_as)


@pytest.mark.parametrize(
    "text",
    [
        "site,workspace\nshop,acme\n",
        "site,workspace\nshop,acme",
        "\ufeffsite,workspace\r\nshop,acme\r\n",
        "SITE,Workspace\nshop,acme\n",
        "Site ID;WORKSPACE\nshop;acme\n",
        "site-id\tWorkspace\nshop\tacme\n",
        '"site","workspace"\n"shop","acme"\n',
        " site , workspace \n shop , acme \n",
        'site, workspace, display_name\nshop, acme, ""\n',
        "workspace,site\nacme,shop\n",
        '"Work\nspace",color,site\n,red,shop\n',
        "id,workspace,Price\nshop,acme,3\n",
        "id,site,workspace\n7,shop,acme\n",
        "site,workspace,Display Name\nshop,acme,\n",
        "site,workspace,display_name\nshop,acme\n",
        "site,workspace,,\nshop,acme,,\n,,,\n",
        "site;workspace;;\nshop;acme;;\n;;;\n",
        "site,,workspace\nshop,,acme\n",
        "site,workspace\nshop,acme,,\n",
        "site,workspace,\nshop,acme\n",
        "\n\nsite,workspace\n\nshop,acme\n\n \n,\n\xa0\n",
        "site,workspace\rshop,acme\r",
        "site\nshop\n",
        "site;workspace\nshop;\n",
        "shop\n",
        "shop",
        "\ufeff\r\nshop\r\n",
        '"shop"\n',
        "shop;;\n",
        ",shop\n",
        "shop\nshop\n",
        "sep=;\nsite;workspace\nshop;acme\n",
        "sep=,\r\nsite,workspace\r\nshop,acme\r\n",
        '"sep=,",\nsite,workspace\nshop,acme\n',
        "sep=\t\nshop\n",
    ],
)
def test_any_usual_form_of_a_list_is_read(text: str) -> None:
    assert sites(read_site_file(text, workspace="acme")) == [("shop", "acme", None)]


def test_ignored_columns_are_named_as_in_the_file() -> None:
    file = read_site_file('Owner;Site;id;"Date\nadded";;Name;display_name\nx;shop;7;y;;n;Shop\n', workspace="acme")
    assert file.ignored_columns == ("Owner", "id", "Date added", "Name")
    assert sites(file) == [("shop", "acme", "Shop")]


def test_the_workspace_of_a_line_takes_precedence_over_the_default() -> None:
    file = read_site_file("site,workspace\nshop,acme\nblog,\n", workspace="globex")
    assert sites(file) == [("shop", "acme", None), ("blog", "globex", None)]


def test_a_name_with_line_breaks_is_read_as_one_line() -> None:
    file = read_site_file('site,display_name\r\nshop,"The\r\n shop"\r\nblog,Blog\r\n', workspace="acme")
    assert sites(file) == [("shop", "acme", "The shop"), ("blog", "acme", "Blog")]
    assert [site.line for site in file.sites] == [2, 4]


@pytest.mark.parametrize("names", [("Shop", ""), ("", "Shop"), ("Shop", "Shop")])
def test_a_site_listed_twice_takes_its_name_from_the_line_that_has_one(names: tuple[str, str]) -> None:
    lines = "".join(f"shop,acme,{name}\n" for name in names)
    assert sites(read_site_file(f"site,workspace,display_name\n{lines}")) == [("shop", "acme", "Shop")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "The file is empty. The first line must have the heading"),
        ("\n \n,\n;\t\n", "The file is empty"),
        ("\ufeff", "The file is empty"),
        ("site,workspace\n", "The file contains no sites, only headings."),
        ("site,workspace\n\n,,\n", "The file contains no sites, only headings."),
        ("sep=;\nsite;workspace\n", "The file contains no sites, only headings."),
        ("shop,acme\nblog,acme\n", "The headings are missing."),
        ("\nshop;Shop\n", "The headings are missing."),
        ("name,workspace\nShop,acme\n", 'Line 1: The heading "site" is missing.'),
        ("\ndisplay_name\nShop\n", 'Line 2: The heading "site" is missing.'),
        ("SITE,workspace,Site\n", 'Line 1: The heading "site" occurs twice.'),
        ("site,Name,name\nshop,a,b\n", 'Line 1: The heading "name" occurs twice.'),
        ("site,workspace\nshop,acme\na/b,acme\n", 'Line 3: "a/b" contains "/"'),
        ("site,workspace\n\n\nshop,acme\n\na/b,acme\n", 'Line 6: "a/b" contains "/"'),
        ("site,workspace\r\nshop,acme\r\na/b,acme\r\n", 'Line 3: "a/b" contains "/"'),
        ("site,workspace\rshop,acme\ra/b,acme\r", 'Line 3: "a/b" contains "/"'),
        ("sep=,\nsite\na/b\n", 'Line 3: "a/b" contains "/"'),
        ('site,notes\nshop,"one\ntwo"\na/b,\n', 'Line 4: "a/b" contains "/"'),
        ("shop\nblog,acme\n", "Line 2: The number of columns differs"),
        ("site,workspace\nshop\n", "Line 2: The number of columns differs"),
        ("site,workspace\nshop,acme,x\n", "Line 2: The number of columns differs"),
        ("site,workspace,,\nshop,acme,,x\n", "Line 2: Column 4 has a value, but no heading"),
        ("site,workspace\n,acme\n", "Line 2: A site id must not be empty."),
        ("site,workspace\nshop,ácme\n", "Line 2: A workspace name must have"),
        ("site,display_name\nshop,\x07\n", "Line 2: A name must not contain control"),
        ('site,workspace\n"sh\nop",acme\n', "Line 2: A site id must not contain control or invisible"),
        ("site,workspace\nshop,acme\nshop,globex\n", 'Line 3: Line 2 says that "shop" belongs to the workspace "acme"'),
        ("site\nshop\n\nSHOP\n", 'Line 4: Some data services treat "SHOP" and "shop" in line 2 as equal.'),
        ("site\ncafé\ncafe\n", 'Line 3: Some data services treat "cafe" and "café" in line 2 as equal.'),
        ("site,display_name\nshop,Shop\nshop,\nshop,Store\n", 'Line 4: Line 2 calls "shop" "Shop".'),
        ('site,workspace\n"shop,acme\n', "Line 2: This is not valid CSV. A value begins with a quote that is never"),
        ('"site,workspace\nshop,acme\n', "Line 1: This is not valid CSV. A value begins with a quote that is never"),
        ('site\nshop\n"blog"x\nwiki\n', "Line 3: This is not valid CSV. Text follows a closing quote"),
        ("site,workspace" + "x" * 200_000, "Line 1: This is not valid CSV. A value is too long."),
        ("site,workspace\nshop,a\0cme\n", "Line 2 contains a NUL character"),
        (b"PK\x03\x04\x14\0\x08\0", "This is a workbook, not a text file. Save the sheet as CSV."),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 20, "This is a workbook, not a text file"),
        (b"site\nshop\nb\x81\xff\n", "Line 3 is not UTF-8 or Windows-1252 text. Save the file as UTF-8."),
        (codecs.BOM_UTF8 + b"site\nb\xe9\n", "Line 2 is not UTF-8 text."),
        ("site\nshop\n".encode("utf-16")[:-1], "Line 2 is not UTF-16 text."),
        (b"site\nsh\0op\n", "Line 2 contains a NUL character"),
    ],
)
def test_a_fault_is_named_with_its_line_and_a_fix(content: bytes | str, expected: str) -> None:
    [fault] = faults(content, "acme")
    assert fault.startswith(expected)


def test_all_faults_of_a_file_are_named() -> None:
    found = faults("site,workspace,display_name\na/b,ácme,\x07\n" + "c/d,acme,\n" * 50 + 'shop,,\n"x"y,acme,\n')
    assert [fault.partition(":")[0] for fault in found] == [
        *["Line 2"] * 3,
        *[f"Line {line}" for line in range(3, 53)],
        "Line 53",
        "Line 54",
    ]
    assert "names no workspace" in found[-2]


def test_the_sites_of_lines_without_faults_are_read_too() -> None:
    file = read_site_file("site\nshop\na/b\nblog\n", workspace="acme")
    assert ([site.id for site in file.sites], len(file.faults)) == (["shop", "blog"], 1)


def test_a_file_with_too_many_lines_is_refused_as_a_whole() -> None:
    file = read_site_file("site\nshop\nblog\ndocs\n", workspace="acme", max_lines=3)
    assert file.sites == ()
    [fault] = file.faults
    assert str(fault).startswith("The file has more than 3 lines.")
