"""How a limit is divided among processes. No I/O."""


def share(limit: float, mine: float, others: float, processes: int) -> float:
    """Return the part of `limit` that this process may use, from 0 to 1. All rates are in requests per second.

    `mine` is the demand of this process, and `others` that of all others. While the demand is below the limit, each of
    the `processes` gets what it uses, and an equal part of what nobody uses. Otherwise, the limit is divided in
    proportion to the demand. In both cases, the shares add up to 1.
    """
    demand = mine + others
    if demand >= limit:
        return mine / demand
    return min((mine + (limit - demand) / processes) / limit, 1.0)
