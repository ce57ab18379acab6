"""Collation of site ids: equal results mean that some data service may treat the ids as equal. No I/O.

Folding in proxy/decision/site_ids.py handles case, width and outer spaces. Collation goes further and covers most of
what these treat as equal:
- MySQL's and MariaDB's utf8mb4_0900_ai_ci, uca1400_ai_ci, unicode_ci and general_ci, SQL Server's _CI_AI, and ICU at
  primary strength: accents, ligatures, letters with a stroke, the digits of all scripts, hiragana and katakana;
- general_ci and unicode_ci also: dotless i, and all characters beyond U+FFFF, which they treat as one character;
- form decoders: `+` and a space.
Known gap: general_ci treats `ß` as one `s`: `straße` equals `strase` there, but `strasse` here, as in the others.
Collation only prevents such ids from existing side by side. It grants nothing: a key for `cafe` never reaches `café`.
"""

import re
import unicodedata
from collections.abc import Iterator

from proxy.decision.site_ids import fold_site

# Vowel signs and viramas of Indic scripts, Thai and Lao are marks too, but every collation distinguishes them. These
# are their combining classes (UnicodeData.txt, field 3).
_DISTINCT_CLASSES = frozenset({0, 9, 84, 91, 103, 118, 129, 130, 132})

# Characters of class 0 that collations still ignore, because DUCET gives them no primary weight: nasal and breath
# signs, tatweel, variation selectors.
_IGNORED_RANGES = """
034f 0640 07fa 0900-0903 0981-0983 0a01-0a03 0a70-0a71 0a81-0a83 0afa-0aff 0b01-0b03 0b55 0b82 0c00-0c04 0c81-0c83
0d00-0d03 0d81-0d83 0e47 0e4c-0e4e 0ecc-0ecd 0f3e-0f3f 0f7e-0f7f 1036 1038 17b4-17b5 17c6-17d1 17d3 180a-180d 180f
2d7f fe00-fe0f e0100-e01ef
"""

_LETTERS = """
a=ꞛꟁ aa=ꜳ ae=æ ao=ꜵ au=ꜷ av=ꜹꜻ ay=ꜽ d=đðꝺ db=ȸ dz=ʣ f=ꝼ g=ᵹꞡ h=ħ i=ı k=ꞣ l=ł ll=ỻ ls=ʪ lz=ʫ n=ꞥ o=øꞝ oe=œ oo=ꝏ qp=ȹ
r=ꝛꞃꞧ s=ꞅꞩꟙ t=ꞇŧ th=þᵺ ts=ƾʦ tz=ꜩ u=ꞟ vy=ꝡ w=ꟃ zw=ƍ ɜ=ᴈ ᴉ=ᵎ г=ґ о=ꙩꙫꙭꙮꚙꚛ ء=ٴ و=ۥ ي=ۦ כ=ך מ=ם נ=ן פ=ף צ=ץ
あ=ぁ い=ぃ う=ぅ え=ぇ お=ぉ か=ゕ け=ゖ つ=っ や=ゃ ゆ=ゅ よ=ょ わ=ゎ
く=ㇰ し=ㇱ す=ㇲ と=ㇳ ぬ=ㇴ は=ㇵ ひ=ㇶ ふ=ㇷ へ=ㇸ ほ=ㇹ む=ㇺ ら=ㇻ り=ㇼ る=ㇽ れ=ㇾ ろ=ㇿ
"""

_BEYOND = "\ufffd"
_SPACES = re.compile(r"[+\s]+")


def _codes(ranges: str) -> Iterator[int]:
    for part in ranges.split():
        first, _, last = part.partition("-")
        yield from range(int(first, 16), int(last or first, 16) + 1)


def _equal_letters() -> Iterator[tuple[int, str]]:
    for entry in _LETTERS.split():
        plain, _, others = entry.partition("=")
        for other in others:
            yield ord(other), plain
    # 🅐 to 🅩 and 🅰 to 🆉, which have no decomposition.
    for first in (0x1F150, 0x1F170):
        for place in range(26):
            yield first + place, chr(ord("a") + place)
    # Old Georgian capitals, which utf8mb4_unicode_ci equates with the modern ones.
    for place in range(0x26):
        yield 0x2D00 + place, chr(0x10D0 + place)


_IGNORED = frozenset(map(chr, _codes(_IGNORED_RANGES)))
_EQUAL = dict(_equal_letters())
_HIRAGANA = {katakana: chr(katakana - 0x60) for katakana in range(0x30A1, 0x30F7)}


def collate_site(site_id: str) -> str:
    """Return the collated id. It is equal for ids that some data service may equate, and for ids with equal folds."""
    folded = fold_site(site_id)
    if not folded.isascii():
        decomposed = unicodedata.normalize("NFKD", folded)
        # Compose again, because a database's character set may lack the separate parts.
        folded = unicodedata.normalize("NFC", "".join(_plain(letter) for letter in decomposed if not _ignored(letter)))
        folded = folded.replace("l·", "l")  # Catalan: col·lecció
    return _SPACES.sub(" ", folded).strip()


def _ignored(letter: str) -> bool:
    if letter in _IGNORED:
        return True
    kind = unicodedata.category(letter)
    return kind == "Me" or (kind in ("Mn", "Mc") and unicodedata.combining(letter) not in _DISTINCT_CLASSES)


def _plain(letter: str) -> str:
    letter = letter.translate(_HIRAGANA).translate(_EQUAL)
    if len(letter) == 1 and unicodedata.category(letter).startswith("N"):
        number = unicodedata.numeric(letter)
        if number.is_integer():
            return str(int(number))
    return _BEYOND if letter > "\uffff" else letter
