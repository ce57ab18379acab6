"""How many parameters a request may have, and how they may be spelled: the limits, and a refusal for each. No I/O."""

from typing import Final

from proxy.refusals import AMBIGUOUS_REQUEST

MAX_PARAMETERS: Final = 1000
"""Servers ignore further parameters: PHP (`max_input_vars`), Node.js, qs and Tomcat all stop at 1,000."""

MAX_COOKIES: Final = 256
"""Browsers keep at most 180 cookies per domain."""

MAX_FOUND: Final = 64
"""The maximum number of occurrences of wanted parameters."""
MAX_FOUND_ODD: Final = 16
"""The limit if values are encoded, or if the query can be split in several ways."""
MAX_FOUND_DEEP: Final = 4
"""The limit if values may be encoded twice."""

MAX_ODD_BYTES: Final = 8192
"""The maximum total length, in bytes, of distinct odd names."""

LONG_NAMES: Final = 1024
LONG_COOKIE_NAMES: Final = 256
MANY_NAMES: Final = 64
"""Odd names that take more than 1024 bytes in total (256 in cookies), or more than 64 names, must not be encoded twice.
If they take more bytes, each `%` must begin an escape, because decoding others is slow. For the same reason, cookies
must then be ASCII when decoded, and parameters must be UTF-8 without many accents and ligatures."""

FEW_NAMES: Final = 7
"""At most 7 odd names that contain an encoded line break are read one by one."""

MAX_UNUSUAL: Final = 24
MAX_UNUSUAL_BYTES: Final = 1024
"""The maximum number of unusual names in a query that may be wanted, and their maximum total length in bytes."""
FEW_UNUSUAL: Final = 8
"""The limit for cookies, for parameters in a path, and for parameters with a key."""
DEEP_UNUSUAL: Final = 3
"""If one of these names is encoded twice, each counts as this many."""
LONGEST_UNUSUAL: Final = 256
"""The maximum length, in bytes, of one such name."""

MAX_SEPARATORS: Final = 256
"""The maximum number of encoded separators in all odd names."""

_SPLIT = "Split the request into several."
_SPELL_PLAINLY = "Send these names with letters, digits, `-` and `_` only."

TOO_MANY_PARAMETERS = AMBIGUOUS_REQUEST.because(
    f"The query has more than {MAX_PARAMETERS} parameters, and many servers ignore the rest. {_SPLIT}"
)
TOO_MANY_COOKIES = AMBIGUOUS_REQUEST.because(
    f"The request has more than {MAX_COOKIES} cookies, or as many commas in them. Send only those that this API needs."
)
TOO_MANY_FOUND = AMBIGUOUS_REQUEST.because(
    f"Parameters or cookies that Sitelatch checks occur more than {MAX_FOUND} times in the request. {_SPLIT}"
)
TOO_MANY_FOUND_IN_SPLITS = AMBIGUOUS_REQUEST.because(
    f"Parameters that Sitelatch checks occur more than {MAX_FOUND_ODD} times in the query, which contains `;` or "
    "another `?`. Send `%3B` and `%3F` for these in values, or split the request."
)
TOO_MANY_FOUND_ENCODED = AMBIGUOUS_REQUEST.because(
    f"Parameters that Sitelatch checks occur more than {MAX_FOUND_ODD} times in the query, and some of their values "
    f"contain `%` or `+`. {_SPLIT}"
)
TOO_MANY_FOUND_DEEP = AMBIGUOUS_REQUEST.because(
    f"Parameters that Sitelatch checks occur more than {MAX_FOUND_DEEP} times in the query, and some of their values "
    "are percent-encoded more than once. Encode each value once."
)
LONG_ODD_NAMES = AMBIGUOUS_REQUEST.because(
    f"The names of parameters or cookies that are percent-encoded or outside ASCII have more than {MAX_ODD_BYTES} "
    f"bytes together. {_SPLIT}"
)
LONG_FOREIGN_NAMES = AMBIGUOUS_REQUEST.because(
    f"The percent-encoded names of parameters have more than {LONG_NAMES} bytes together and contain many accents or "
    "ligatures or are not UTF-8, or those of cookies have more than "
    f"{LONG_COOKIE_NAMES} bytes together and are outside ASCII. {_SPLIT}"
)
LONG_BARE_PERCENTS = AMBIGUOUS_REQUEST.because(
    f"The percent-encoded names of parameters have more than {LONG_NAMES} bytes together, or those of cookies more "
    f"than {LONG_COOKIE_NAMES}, and some `%` in them do not begin an escape. Send `%25` for a `%`."
)
LINE_ENDS_IN_NAMES = AMBIGUOUS_REQUEST.because(
    f"The name of a parameter or cookie contains an encoded line break, and more than {FEW_NAMES} names are "
    "percent-encoded. Send names without line breaks."
)
SEPARATORS_IN_NAMES = AMBIGUOUS_REQUEST.because(
    f"The names of parameters or cookies contain more than {MAX_SEPARATORS} encoded `&`, `;`, `?` or `#`. Use these "
    "characters only in values."
)
LONG_UNUSUAL_NAME = AMBIGUOUS_REQUEST.because(
    f"The name of a parameter or cookie has more than {LONGEST_UNUSUAL} bytes and may be another spelling of one "
    f"that Sitelatch checks. {_SPELL_PLAINLY}"
)
TOO_MANY_UNUSUAL = AMBIGUOUS_REQUEST.because(
    f"More than {MAX_UNUSUAL} names of parameters, more than {FEW_UNUSUAL} names of cookies or of parameters for the "
    f"API key, or names with more than {MAX_UNUSUAL_BYTES} bytes together, may be other spellings of those that "
    f"Sitelatch checks. If one of them is encoded twice, each counts as {DEEP_UNUSUAL}. {_SPELL_PLAINLY}"
)
