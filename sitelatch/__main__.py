"""`python -m sitelatch` is `sitelatch`."""

from sitelatch.command import main

if __name__ == "__main__":
    main()
