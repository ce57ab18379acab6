"""Outcomes of a command that the command line turns into a message and an exit code."""


class CannotServe(Exception):  # noqa: N818 - names what happened
    """The config asks for something that is not possible on this machine. The message says what, and why."""


class HealthcheckFailed(Exception):  # noqa: N818 - an outcome, not a program error
    """A probe that got no answer or got a status other than 200. The text is the reason."""


class OutputClosed(Exception):  # noqa: N818 - names what happened
    """The program that reads the output has closed the pipe, because it needs no more, as `head` does."""
