"""Notices that all clients seem to have the same address, as behind a load balancer that is not a trusted proxy."""

import structlog

_MAX_ADDRESSES = 3
"""The maximum number of addresses of one load balancer, which has an address for each of its nodes."""

_USERS_PER_ADDRESS = 20

_log = structlog.get_logger(__name__)


class SharedAddresses:
    """Logs a warning, once, if many API users come from very few addresses, and none from any other address."""

    def __init__(self) -> None:
        self._addresses: set[str] = set()
        self._users: set[str] = set()
        self._decided = False

    def saw(self, address: str, user_id: str) -> None:
        """Record that an API user sent a request from this address."""
        if self._decided:
            return
        self._addresses.add(address)
        self._users.add(user_id)
        if len(self._addresses) > _MAX_ADDRESSES:
            self._decide()
        elif len(self._users) >= _USERS_PER_ADDRESS * len(self._addresses):
            event = "all_clients_share_one_address" if len(self._addresses) == 1 else "all_clients_share_few_addresses"
            _log.warning(
                event,
                addresses=sorted(self._addresses),
                api_users=len(self._users),
                advice="if this is a load balancer or another proxy, list it in proxy.trusted_proxies",
            )
            self._decide()

    def _decide(self) -> None:
        self._decided = True
        self._addresses.clear()
        self._users.clear()
