"""The log line and the response for a person that the allow list does not admit."""

from collections.abc import Mapping
from typing import Final

import structlog

from admin.identity.allow_list import Reason, Rejection
from admin.problems import NotAnAdmin

_NOT_LISTED: Final = "you are not an admin here. Ask the operator of Sitelatch to add you to the allow list."
_DETAILS: Final[Mapping[Reason, str]] = {
    "email_not_verified": "{source} reports that your email address is not verified. Verify it there and try again.",
    "email_verified_missing": (
        "{source} does not say whether your email address is verified. Ask its operator to send `email_verified`."
    ),
    "invalid_email": "{source} sent an invalid email address for you. Correct it there and try again.",
    "no_email": "{source} did not send your email address. Ask its operator to send it to Sitelatch.",
    "no_subject": "{source} did not send your user name or a verified email address. Ask its operator to send one.",
    "claim_missing": "{source} did not send the claims that decide who is an admin. Ask its operator to send them.",
    "not_listed": "{source} knows you, but " + _NOT_LISTED,
}

log = structlog.get_logger("sitelatch.admin")


def not_an_admin(rejection: Rejection, source: str) -> NotAnAdmin:
    """Log a rejection. Return the problem that tells the caller what to do. `source` names the issuer or proxy."""
    log_rejection(rejection)
    return NotAnAdmin(_DETAILS[rejection.reason].format(source=source))


def log_rejection(rejection: Rejection) -> None:
    """Log why a person is not an admin."""
    log.info(
        "not_an_admin", reason=rejection.reason, person=rejection.person, missing_claims=list(rejection.missing_claims)
    )
