"""Who may use the gateway, and from which pages."""

from dataclasses import dataclass

from enterprise_gateway_common.environment import boolean, optional, setting, text

__all__ = ["AccessSettings"]

_ACCESS = "Access"
_CORS = "Cross-origin requests"


@dataclass(frozen=True, kw_only=True)
class AccessSettings:
    """Who may use the gateway, and from which pages."""

    auth_token: str = setting(
        "",
        text,
        environment=("EG_AUTH_TOKEN", "KG_AUTH_TOKEN"),
        group=_ACCESS,
        secret=True,
        help="Token that every request must carry, as `Authorization: token …`, `Authorization: Bearer …` or `?token=…`. "
        "Empty means that no token is needed.",
    )
    require_token: bool = setting(
        False,
        boolean,
        environment=("EG_REQUIRE_TOKEN",),
        group=_ACCESS,
        help="Refuse to start where there is neither auth_token nor auth_tokens_file: a Secret that turns out to be empty lets "
        "nobody in rather than everybody.",
    )
    auth_tokens_file: str | None = setting(
        None,
        optional(text),
        environment=("EG_AUTH_TOKENS_FILE",),
        group=_ACCESS,
        help="File with one `user:token` a line. A request with such a token acts as that user: kernels of others don't "
        "exist for it and KERNEL_USERNAME can't name somebody else. Read again when it changes.",
    )
    authorized_origin: str = setting(
        "",
        text,
        environment=("EG_AUTHORIZED_ORIGIN",),
        group=_ACCESS,
        help="With client certificates: the DNS name that a client's certificate must carry.",
    )
    authorizer_class: str = setting(
        "",
        text,
        environment=("EG_AUTHORIZER_CLASS",),
        group=_ACCESS,
        help="Dotted name of a class whose is_authorized(handler, user, action, resource) decides on every request; none "
        "allows all that the other settings allow.",
    )
    authenticate_metrics: bool = setting(
        True,
        boolean,
        environment=("EG_AUTHENTICATE_METRICS",),
        group=_ACCESS,
        help="Whether /metrics needs the token, where there is one.",
    )
    allow_credentials: str = setting(
        "",
        text,
        environment=("EG_ALLOW_CREDENTIALS", "KG_ALLOW_CREDENTIALS"),
        group=_CORS,
        help="Value of Access-Control-Allow-Credentials; not sent when empty.",
    )
    allow_headers: str = setting(
        "",
        text,
        environment=("EG_ALLOW_HEADERS", "KG_ALLOW_HEADERS"),
        group=_CORS,
        help="Value of Access-Control-Allow-Headers; not sent when empty.",
    )
    allow_methods: str = setting(
        "",
        text,
        environment=("EG_ALLOW_METHODS", "KG_ALLOW_METHODS"),
        group=_CORS,
        help="Value of Access-Control-Allow-Methods; not sent when empty.",
    )
    allow_origin: str = setting(
        "",
        text,
        environment=("EG_ALLOW_ORIGIN", "KG_ALLOW_ORIGIN"),
        group=_CORS,
        help="Value of Access-Control-Allow-Origin, and the origin whose websockets and changing requests are accepted "
        "beside the gateway's own; * accepts every origin. Not sent when empty.",
    )
    expose_headers: str = setting(
        "",
        text,
        environment=("EG_EXPOSE_HEADERS", "KG_EXPOSE_HEADERS"),
        group=_CORS,
        help="Value of Access-Control-Expose-Headers; not sent when empty.",
    )
    max_age: str = setting(
        "",
        text,
        environment=("EG_MAX_AGE", "KG_MAX_AGE"),
        group=_CORS,
        help="Value of Access-Control-Max-Age; not sent when empty.",
    )
