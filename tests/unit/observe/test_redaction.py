"""Masking of secrets in text and in paths."""

import pytest

from proxy.observe.redaction import mask, public_path

KEY = "slk_" + "a1B2c3D4" * 4 + "9Zz9Zz"
TOKEN = "sla_" + "x7-_" * 11


@pytest.mark.parametrize("path", ["/api/sites/shop", "/a_b/c%20d", "/slk", "/risk_assessment", "/100%"])
def test_ordinary_paths_are_not_changed(path: str) -> None:
    assert public_path(path.encode()) == path


def test_masking_keeps_the_rest_of_a_sentence() -> None:
    assert mask(f"key {KEY}, token {TOKEN}.") == "key ***, token ***."
