"""Makes one of our errors from what a runtime says.

Runtimes speak of a registry's answer only in words (containerd gives gRPC status UNKNOWN for 401, 429 and 503 alike), so
the words decide. They are looked for in an order: a text about a full disk or a refused login is that, whatever else is
in it.
"""

import re

from kernel_image_puller.errors import (
    AuthenticationFailed,
    DiskFull,
    PermanentPullError,
    PullFailed,
    RegistryBusy,
    TransientPullError,
)

__all__ = ["classify_pull_message", "without_secrets"]

_USER_IN_URL = re.compile(r"(://)[^/\s@]+@")
_SECRET_PARAMETER = re.compile(r"(?i)((?:token|password|secret|signature|access_key|x-amz-[a-z-]+)=)[^&\s\"']+")
_AUTHORIZATION = re.compile(r"(?i)\b(basic|bearer|token)\s+[A-Za-z0-9+/_=.~-]{8,}")
_MAXIMUM_LENGTH = 600

_DISK_FULL = re.compile(r"no space left on device|disk quota exceeded|not enough (?:disk )?space", re.IGNORECASE)
_AUTHENTICATION = re.compile(
    r"\b40[13]\b (?:unauthorized|forbidden)|unauthorized|authorization failed|authentication required|no basic auth credentials"
    r"|pull access denied|insufficient_scope|denied: |access forbidden|incorrect username or password"
    r"|status(?: ?code)?:? 40[13]\b",
    re.IGNORECASE,
)
_BUSY = re.compile(
    r"\b(?:429|50[0-9])\b (?:too many|internal|bad gateway|service|gateway|not impl)|too ?many ?requests|service unavailable"
    r"|internal server error|bad gateway|gateway time-?out|received unexpected http status: 5\d\d"
    r"|status(?: ?code)?:? ?(?:429|5\d\d)\b|connection refused|no such host|no route to host|network is unreachable"
    r"|server misbehaving|tls handshake timeout|i/o timeout|name resolution|registryunavailable",
    re.IGNORECASE,
)
_PERMANENT = re.compile(
    r"manifest unknown|name unknown|not found|does not exist|invalid reference|invalid repository name|repository name must be"
    r"|no match(?:ing manifest)? for platform|no matching manifest|no image found in (?:manifest list|image index)"
    r"|unsupported media ?type|mediatype|unknown blob|source image rejected|manifest does not match"
    r"|invalid (?:manifest|character|checksum)|cannot unmarshal|failed to (?:unmarshal|decode)|unexpected end of json"
    r"|unexpected commit digest|failed precondition|signaturevalidationfailed|unsupported manifest|wrong diff ?id"
    r"|manifest verification failed|bad digest|401\b|exceeds? the maximum|status(?: ?code)?:? 4\d\d\b",
    re.IGNORECASE,
)
# Seconds, or a duration as Go writes it: 1m30s, 250ms; microseconds have the micro sign or the Greek letter.
_RETRY_AFTER = re.compile(r"retry[- ]after:? *((?:[0-9.]+[a-z\u00b5\u03bc]+)+|[0-9.]+ *[a-z\u00b5\u03bc]*)", re.IGNORECASE)
_DURATION_PART = re.compile(r"([0-9.]+) *([a-z\u00b5\u03bc]*)")
_UNIT_SECONDS = {
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1.0),
    "ms": 1e-3,
    **dict.fromkeys(("us", "\u00b5s", "\u03bcs"), 1e-6),
    "ns": 1e-9,
}


def without_secrets(text: str) -> str:
    """Return a text for a log or a status page: one line, bounded, without credentials that a URL or a header may carry."""
    line = " ".join(text.split())
    line = _USER_IN_URL.sub(r"\1", line)
    line = _SECRET_PARAMETER.sub(r"\1…", line)
    line = _AUTHORIZATION.sub(r"\1 …", line)
    return line if len(line) <= _MAXIMUM_LENGTH else line[:_MAXIMUM_LENGTH] + "…"


def classify_pull_message(message: str) -> PullFailed:
    """Return the error that a runtime's words mean; words that nobody knows mean that trying again may help."""
    text = without_secrets(message)
    if _DISK_FULL.search(message):
        return DiskFull(text)
    if _AUTHENTICATION.search(message):
        return AuthenticationFailed(text)
    if _BUSY.search(message):
        return RegistryBusy(text, retry_after=_retry_after(message))
    if _PERMANENT.search(message):
        return PermanentPullError(text)
    return TransientPullError(text)


def _retry_after(message: str) -> float | None:
    found = _RETRY_AFTER.search(message)
    if found is None:
        return None
    try:
        return sum(float(count) * _UNIT_SECONDS[unit] for count, unit in _DURATION_PART.findall(found[1].lower()))
    except (ValueError, KeyError):  # such as "1.2.3" or "2 apples": the registry's text isn't a time after all
        return None
