import pytest

from kernel_image_puller.classification import classify_pull_message, without_secrets
from kernel_image_puller.errors import (
    AuthenticationFailed,
    DiskFull,
    PermanentPullError,
    PullFailed,
    RegistryBusy,
    TransientPullError,
)

PREFIX = 'failed to pull and unpack image "docker.io/kip/a:1": '


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("failed to copy: write /var/lib/x: no space left on device", DiskFull),
        (
            "failed to resolve reference: unexpected status from HEAD request to https://r/v2/a: 401 Unauthorized",
            AuthenticationFailed,
        ),
        (
            "failed to resolve reference: unexpected status from HEAD request to https://r/v2/a: 403 Forbidden",
            AuthenticationFailed,
        ),
        ("pull access denied, repository does not exist or may require authorization", AuthenticationFailed),
        ("no basic auth credentials", AuthenticationFailed),
        ("unauthorized: authentication required", AuthenticationFailed),
        ("failed with status code [manifests 1]: 429 Too Many Requests", RegistryBusy),
        ("toomanyrequests: You have reached your pull rate limit", RegistryBusy),
        ("unexpected status from HEAD request to http://r/v2/a/manifests/1: 500 Internal Server Error", RegistryBusy),
        ("unexpected status from GET request: 503 Service Unavailable", RegistryBusy),
        ("received unexpected HTTP status: 502 Bad Gateway", RegistryBusy),
        ("dial tcp 127.0.0.1:5000: connect: connection refused", RegistryBusy),
        ("dial tcp: lookup r.example: no such host", RegistryBusy),
        ("net/http: TLS handshake timeout", RegistryBusy),
        ("manifest for r/a:1 not found: manifest unknown", PermanentPullError),
        ("docker.io/kip/a:1: not found", PermanentPullError),
        ("failed to parse image reference: invalid reference format", PermanentPullError),
        ("no match for platform in manifest: not found", PermanentPullError),
        ("json: cannot unmarshal string into Go value", PermanentPullError),
        ("failed commit on ref: unexpected commit digest sha256:0, expected sha256:1: failed precondition", PermanentPullError),
        ("read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer", TransientPullError),
        ("unexpected EOF", TransientPullError),
        ("something that nobody has ever seen", TransientPullError),
    ],
)
def test_a_runtimes_words_have_one_class(message: str, expected: type[PullFailed]) -> None:
    assert type(classify_pull_message(PREFIX + message)) is expected


# How CRI-O's image library and its fallback to artifacts put it, and a Docker engine behind cri-dockerd.
_UNAUTHORIZED = "reading manifest 1 in r.example/a: unauthorized: access to the requested resource is not authorized"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (f"initializing source docker://r.example/a:1: {_UNAUTHORIZED}", AuthenticationFailed),
        (
            f"unable to pull image or OCI artifact: pull image err: {_UNAUTHORIZED}; artifact err: manifest unknown",
            AuthenticationFailed,
        ),
        ("reading manifest 1 in r.example/a: requesting bearer token: StatusCode: 403, denied", AuthenticationFailed),
        ("unable to retrieve auth token: invalid username/password: unauthorized: bad login", AuthenticationFailed),
        ("reading manifest 1 in r.example/a: manifest unknown", PermanentPullError),
        ("reading manifest 1 in r.example/a: name unknown: repository a not found", PermanentPullError),
        ('choosing image instance: no image found in manifest list for architecture "amd64", OS "linux"', PermanentPullError),
        ('choosing image instance: no image found in image index for architecture "amd64", OS "linux"', PermanentPullError),
        ("copying system image from manifest list: source image rejected: a signature was required", PermanentPullError),
        ("SignatureValidationFailed: source image rejected: signature by unknown key", PermanentPullError),
        ("reading manifest 1 in r.example/a: toomanyrequests: You have reached your pull rate limit", RegistryBusy),
        ("reading manifest 1 in r.example/a: too many requests to registry", RegistryBusy),
        ("reading manifest 1 in r.example/a: received unexpected HTTP status: 500 Internal Server Error", RegistryBusy),
        ('reading manifest 1 in r.example/a: StatusCode: 503, "<html>"', RegistryBusy),
        ("pinging container registry r.example: dial tcp 127.0.0.1:1: connect: connection refused", RegistryBusy),
        ("RegistryUnavailable: received unexpected HTTP status: 502 Bad Gateway", RegistryBusy),
        ("writing blob: storing blob to file: write /var/tmp/x: no space left on device", DiskFull),
        ("reading blob sha256:00: unexpected EOF", TransientPullError),
        ("Error response from daemon: manifest for r.example/a:1 not found: manifest unknown", PermanentPullError),
        ("Error response from daemon: pull access denied for a, repository does not exist", AuthenticationFailed),
        ("Error response from daemon: unauthorized: authentication required", AuthenticationFailed),
        ("Error response from daemon: dial tcp: lookup r.example: no such host", RegistryBusy),
    ],
)
def test_the_words_of_other_runtimes_have_the_same_classes(message: str, expected: type[PullFailed]) -> None:
    assert type(classify_pull_message(message)) is expected


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("429 Too Many Requests, retry-after: 250ms", 0.25),
        ("toomanyrequests: Retry-After: 30", 30.0),
        ("429 Too Many Requests", None),
        ("toomanyrequests: retry-after: 796.199\u00b5s, allowed: 44000/minute", 796.199e-6),
        ("toomanyrequests: retry-after: 796.199\u03bcs, allowed: 44000/minute", 796.199e-6),
        ("toomanyrequests: retry-after: 500us", 500e-6),
        ("toomanyrequests: retry-after: 500ns", 500e-9),
        ("toomanyrequests: retry-after: 1m30s, allowed: 44000/minute", 90.0),
        ("toomanyrequests: retry-after: 2 minutes", 120.0),
        ("toomanyrequests: retry-after: 12fortnights", None),
        ("toomanyrequests: retry-after: 1.2.3", None),
    ],
)
def test_the_time_that_a_registry_asks_for_is_read(message: str, seconds: float | None) -> None:
    error = classify_pull_message(message)
    assert isinstance(error, RegistryBusy)
    assert error.retry_after == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    "text",
    [
        "GET https://user:s3cr3t@registry.example/v2/",
        "https://storage.example/blob?X-Amz-Signature=s3cr3t&x=1",
        "https://r.example/token?password=s3cr3t",
        'authorization: "Bearer s3cr3ts3cr3t"',
        "Header part ('token s3cr3ts3cr3t') from ('Authorization', 'token s3cr3ts3cr3t') must be of type str",
        "Basic czNjcjN0OnMzY3IzdA== s3cr3t"[:29],
    ],
)
def test_no_secret_of_a_url_or_header_is_shown(text: str) -> None:
    shown = without_secrets(text)
    assert "s3cr3t" not in shown
    assert "czNjcjN0" not in shown


def test_a_long_text_of_many_lines_becomes_one_short_line() -> None:
    shown = without_secrets("a\nb" * 10_000)
    assert "\n" not in shown
    assert len(shown) < 700
