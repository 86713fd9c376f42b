"""Who may start kernels, and how many."""

from dataclasses import dataclass

from enterprise_gateway_common.environment import integer, names, optional, ordered_names, setting

__all__ = ["UserSettings"]

_USERS = "Users and limits"


@dataclass(frozen=True, kw_only=True)
class UserSettings:
    """Who may start kernels, and how many."""

    authorized_users: frozenset[str] = setting(
        frozenset(),
        names,
        environment=("EG_AUTHORIZED_USERS",),
        group=_USERS,
        help="Users who may start kernels; everybody when empty. A kernelspec's own list takes its place.",
    )
    unauthorized_users: frozenset[str] = setting(
        frozenset({"root"}),
        names,
        environment=("EG_UNAUTHORIZED_USERS",),
        group=_USERS,
        help="Users who may never start kernels; a kernelspec's own list is added. A kernel that no user is named for belongs "
        "to the gateway's own operating system user, or to `anonymous` where that is root.",
    )
    max_kernels: int | None = setting(
        None,
        optional(integer(0)),
        environment=("EG_MAX_KERNELS", "KG_MAX_KERNELS"),
        group=_USERS,
        help="The most kernels at one time, those that are starting included; no limit when unset.",
    )
    max_kernels_per_user: int = setting(
        -1,
        integer(-1),
        environment=("EG_MAX_KERNELS_PER_USER",),
        group=_USERS,
        help="The most kernels of one user at one time, those that are starting included; -1 for no limit.",
    )
    prohibited_uids: tuple[str, ...] = setting(
        ("0",),
        ordered_names,
        environment=("EG_PROHIBITED_UIDS", "EG_UID_BLACKLIST"),
        group=_USERS,
        help="User ids that KERNEL_UID may not name.",
    )
    prohibited_gids: tuple[str, ...] = setting(
        ("0",),
        ordered_names,
        environment=("EG_PROHIBITED_GIDS", "EG_GID_BLACKLIST"),
        group=_USERS,
        help="Group ids that KERNEL_GID may not name.",
    )
