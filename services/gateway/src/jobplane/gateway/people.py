"""The names of the people whom the services know by their ids alone."""

from collections.abc import Iterable
from typing import Any

from jobplane.contracts.actors import HUMAN_KINDS
from jobplane.gateway.accounts import Accounts


async def name(accounts: Accounts, told: Iterable[dict[str, Any]], who: str = "actor") -> None:
    """Say beside each actor that stands under the key `who` what their name is: none for machines and erased accounts.

    The name of ``actor`` is put under ``actor_name``; what has no such key stays as it is.
    """
    of_somebody = [item for item in told if item.get(who)]
    ids = {item[who]["id"] for item in of_somebody if item[who]["kind"] in HUMAN_KINDS}
    names = await accounts.names(ids) if ids else {}
    for item in of_somebody:
        item[f"{who}_name"] = names.get(item[who]["id"])
