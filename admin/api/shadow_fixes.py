"""What would let the requests of a finding of shadow mode pass, by the code of their refusal."""

from typing import Final, Literal, NamedTuple

Kind = Literal["add_site", "register_site", "edit_user", "import_keys", "route", "keys", "client", "database"]


class Fix(NamedTuple):
    """What to change."""

    kind: Kind
    """Where: a dialog of the page, an option of the route or of `[keys]`, the client, or the database."""
    option: str | None
    """The option of the config."""
    advice: str


_ADD_SITE: Final = Fix("add_site", None, "If the key should cover this site, add it to the API user.")
_REGISTER_SITE: Final = Fix("register_site", None, "If this is a site of the workspace, add it on the page Sites.")
_CLIENT: Final = Fix("client", None, "No option allows such requests. The client has to change them as the text says.")

FIXES: Final[dict[str, Fix]] = {
    "all_sites_needed": Fix("edit_user", None, "Authorize the API user for all sites of its workspace."),
    "ambiguous_key": Fix("route", "keys_from", "Leave out the key location that clients use for something else."),
    "ambiguous_request": _CLIENT,
    "bad_request": _CLIENT,
    "disabled_key": Fix("edit_user", None, "Enable the API user."),
    "endpoint_refused": Fix("route", "refuse", "Remove the entry that lists this endpoint or parameter."),
    "expired_key": Fix("edit_user", None, "Change when the API user expires, or give its client the new key."),
    "form_body_not_read": Fix("route", "form_body", 'Write "pass" if the API takes no site from a form body.'),
    "invalid_key": Fix(
        "import_keys",
        "accept_foreign",
        "Import the key. If it is not in Sitelatch's own format, set accept_foreign = true in [keys].",
    ),
    "method_not_allowed": Fix("route", "methods", "Add the method."),
    "method_not_granted": Fix("edit_user", None, "Add the method to the API user."),
    "missing_key": Fix("route", "public", "List the endpoint if it needs no key. Otherwise give the client a key."),
    "network_not_allowed": Fix("edit_user", None, "Add the client's network to the API user."),
    "preflight_refused": Fix("route", "cors", 'List the origins of the pages: { origins = ["https://app.example"] }.'),
    "rate_limited": Fix("route", "limits", "Raise the limit of the route or of the API user."),
    "scope_unavailable": Fix("database", None, "The database did not answer. Run sitelatch doctor."),
    "second_resource": Fix("route", "second_resource", 'Write "pass" if the API ignores such headers.'),
    "site_missing": Fix("route", "without_site", 'Write "any-key" if these endpoints show no site\'s data.'),
    "site_not_allowed": _ADD_SITE,
    "too_many_unknown_keys": Fix("keys", "unknown_per_minute", "Import the keys, or raise the budget."),
}
"""The fix for each code that shadow mode suspends."""


def fix_for(code: str, *, all_sites: bool) -> Fix:
    """Return the fix for a finding. `all_sites` says whether its API user may access all sites of its workspace."""
    if code == "site_not_allowed" and all_sites:
        return _REGISTER_SITE
    return FIXES.get(code, _CLIENT)
