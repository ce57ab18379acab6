"""Lets `python -m sitelatch` run the `sitelatch` command."""

from sitelatch.command import main

if __name__ == "__main__":
    main()
