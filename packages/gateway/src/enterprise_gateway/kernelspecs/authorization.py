"""Who may start which kernel: the lists of users, the administrator's and the kernelspec's own."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from enterprise_gateway.errors import Forbidden
from enterprise_gateway.kernelspecs.catalogue import Kernelspec
from enterprise_gateway_common.kernelspec_metadata import provisioner_config

__all__ = ["EmptyListings", "UserLists", "check_may_start", "may_start", "visible_to"]

_log = logging.getLogger(__name__)

_MOST_USERS = 1000
_LONGEST_SHOWN = 128


@dataclass(frozen=True, kw_only=True)
class UserLists:
    """The administrator's lists; a kernelspec can bring its own."""

    authorized: frozenset[str]
    unauthorized: frozenset[str]


def may_start(user: str, metadata: Mapping[str, Any], lists: UserLists) -> bool:
    """Tell whether a user may start kernels of a kernelspec.

    The unauthorized lists of the administrator and of the kernelspec are added up and win; the kernelspec's authorized
    list takes the place of the administrator's; an empty authorized list means everybody. Names are compared whole and
    with their case.
    """
    config = provisioner_config(metadata)
    if user in lists.unauthorized | _user_names(config.get("unauthorized_users")):
        return False
    authorized = _user_names(config["authorized_users"]) if "authorized_users" in config else lists.authorized
    return not authorized or user in authorized


def check_may_start(user: str, kernel_name: str, metadata: Mapping[str, Any], lists: UserLists) -> None:
    """Return when the user may start kernels of the kernelspec.

    Raises
    ------
    Forbidden
        The user may not.
    """
    if not may_start(user, metadata, lists):
        raise Forbidden(
            f"User '{user}' is not authorized to start kernel '{kernel_name}'. "
            "Ensure KERNEL_USERNAME is set to an appropriate value and retry the request."
        )


def visible_to(user: str | None, kernelspecs: Mapping[str, Kernelspec], lists: UserLists) -> dict[str, Kernelspec]:
    """Return the kernelspecs that a user may start; all of them where no user is named."""
    if user is None:
        return dict(kernelspecs)
    return {name: kernelspec for name, kernelspec in kernelspecs.items() if may_start(user, kernelspec.metadata, lists)}


class EmptyListings:
    """Logs, once for each user, why no kernelspec is shown to them: their launcher is empty and gives no reason."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def note(self, user: str, lists: UserLists) -> None:
        """Tell that a user gets an empty list."""
        shown = user[:_LONGEST_SHOWN]
        if shown in self._told or len(self._told) >= _MOST_USERS:
            return
        self._told.add(shown)
        if user in lists.unauthorized:
            setting, cure = "EG_UNAUTHORIZED_USERS", "take the user out of it"
        elif lists.authorized and user not in lists.authorized:
            setting, cure = "EG_AUTHORIZED_USERS", "add the user to it"
        else:
            setting, cure = "the kernelspecs' authorized_users and unauthorized_users", "change them"
        advice = f"start JupyterLab with another KERNEL_USERNAME, or {cure}"
        _log.warning("A user sees no kernelspec", extra={"user": shown, "setting": setting, "advice": advice})


def _user_names(value: object) -> frozenset[str]:
    """Return the names of a kernelspec's list, which people write as JSON list or as text with commas."""
    if isinstance(value, str):
        return frozenset(filter(None, (name.strip() for name in value.split(","))))
    if isinstance(value, list | tuple):
        return frozenset(str(name).strip() for name in value)
    return frozenset()
