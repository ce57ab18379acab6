"""The entry point of the command, also for `python -m sitelatch`. It handles signals before the slow imports."""

import re
import sys

from sitelatch.early_signals import handle_early_signals

# Python before 3.11.5 matches some patterns wrongly (python/cpython#106052). Requests for other sites would pass.
if re.fullmatch("(?:ab?c)*+", "a"):
    sys.exit(
        f"Sitelatch needs Python 3.11.5 or later. This is Python {sys.version.partition(' ')[0]}, whose regular "
        "expressions have a bug with which a key could read the data of other sites."
    )

handle_early_signals(sys.argv[1:])

from sitelatch.command import main  # noqa: E402 - see above

if __name__ == "__main__":
    main()
