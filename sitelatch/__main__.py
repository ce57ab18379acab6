"""The entry point of the command, also for `python -m sitelatch`. It handles signals before the slow imports."""

import sys

from sitelatch.early_signals import handle_early_signals

handle_early_signals(sys.argv[1:])

from sitelatch.command import main  # noqa: E402 - see above

if __name__ == "__main__":
    main()
