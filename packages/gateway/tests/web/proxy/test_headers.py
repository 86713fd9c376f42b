import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders, HTTPInputError

from enterprise_gateway.web.proxy.headers import SANDBOX, ForeignRedirect, Forwarding, answer_headers, request_headers

PREFIX = "/eg/api/kernels/1/proxy/4040"
FORWARDING = Forwarding(kernel="10.0.0.1:4040", client="gateway:8888", scheme="https", prefix=PREFIX)


def to_kernel(*, upgrade=False, **given_headers):
    given_headers = HTTPHeaders({name.replace("_", "-"): value for name, value in given_headers.items()})
    return request_headers(given_headers, FORWARDING, upgrade=upgrade)


def to_client(*given_headers):
    headers = HTTPHeaders()
    for name, value in given_headers:
        headers.add(name, value)
    return answer_headers(headers, FORWARDING)


def location(text):
    return dict(to_client(("Location", text)))["Location"]


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Cookie",
        "Proxy_Authorization",
        "Referer",
        "X_Forwarded_Access_Token",
        "X_Auth_Request_Email",
        "X_Amzn_Oidc_Data",
        "Cf_Access_Jwt_Assertion",
        "Transfer_Encoding",
        "Te",
        "Keep_Alive",
        "Forwarded",
        "X_Real_IP",
        "X_Forwarded_For",
    ],
)
def test_the_kernel_gets_nothing_of_who_its_user_is(name):
    assert name.replace("_", "-") not in to_kernel(**{name: "canary"})


def test_the_kernel_learns_under_which_path_its_pages_are_shown():
    told = to_kernel(X_Forwarded_Prefix="/evil", X_Forwarded_Context="/evil", X_Forwarded_Host="evil")
    assert told["X-Forwarded-Prefix"] == told["X-Forwarded-Context"] == PREFIX
    assert (told["Host"], told["X-Forwarded-Host"], told["X-Forwarded-Proto"]) == ("10.0.0.1:4040", "gateway:8888", "https")


def test_an_origin_becomes_the_kernels_own_and_none_is_made_up():
    assert to_kernel(Origin="null")["Origin"] == "http://10.0.0.1:4040"
    assert "Origin" not in to_kernel()


def test_a_connection_may_only_become_a_websocket():
    told = to_kernel(upgrade=True, Upgrade="h2c", Connection="Upgrade, HTTP2-Settings", Sec_WebSocket_Key="k")
    assert (told["Upgrade"], told["Connection"], told["Sec-WebSocket-Key"]) == ("websocket", "Upgrade", "k")
    plain = to_kernel(Upgrade="h2c", Connection="Upgrade", Sec_WebSocket_Key="k")
    assert (plain["Connection"], "Upgrade" in plain, "Sec-WebSocket-Key" in plain) == ("close", False, False)


@pytest.mark.parametrize(
    "name",
    [
        "Set-Cookie",
        "Set-Cookie2",
        "Access-Control-Allow-Origin",
        "Service-Worker-Allowed",
        "Clear-Site-Data",
        "Strict-Transport-Security",
        "Alt-Svc",
        "WWW-Authenticate",
        "Refresh",
        "X-Accel-Redirect",
        "X-Sendfile",
        "Report-To",
        "Cross-Origin-Opener-Policy",
        "Transfer-Encoding",
    ],
)
def test_the_kernel_says_nothing_for_the_gateways_origin(name):
    assert name not in dict(to_client((name, "canary")))


def test_every_page_is_kept_apart_from_the_gateways_origin_whatever_it_says_itself():
    passed = to_client(("Content-Security-Policy", "sandbox allow-same-origin"))
    assert [value for name, value in passed if name == "Content-Security-Policy"] == ["sandbox allow-same-origin", SANDBOX]
    assert "allow-same-origin" not in SANDBOX


@pytest.mark.parametrize(
    ("given_text", "passed"),
    [
        ("", "private"),
        ("public, max-age=60, s-maxage=90", "private, max-age=60"),
        ("no-store", "private, no-store"),
        ("PRIVATE", "private"),
    ],
)
def test_no_cache_for_many_users_keeps_a_page(given_text, passed):
    assert dict(to_client(("Cache-Control", given_text)))["Cache-Control"] == passed


@pytest.mark.parametrize(
    ("given_text", "passed"),
    [
        ("/jobs/", f"{PREFIX}/jobs/"),
        ("http://10.0.0.1:4040/jobs/?a=1#x", f"{PREFIX}/jobs/?a=1#x"),
        ("https://gateway:8888/jobs/", f"{PREFIX}/jobs/"),
        ("//10.0.0.1:4040", f"{PREFIX}/"),
        (f"{PREFIX}/jobs/", f"{PREFIX}/jobs/"),
        (f"{PREFIX}0/jobs/", f"{PREFIX}{PREFIX}0/jobs/"),
        ("stages/%2e%2e/", "stages/%2e%2e/"),
        ("?page=2", "?page=2"),
        ("/api/kernels", f"{PREFIX}/api/kernels"),
    ],
)
def test_a_redirect_within_the_port_stays_within_it(given_text, passed):
    assert location(given_text) == passed


@pytest.mark.parametrize(
    "text",
    [
        "http://evil.example/",
        "//evil.example",
        "https:evil.example",
        "https:/evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "\\\\evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "x //evil.example",
        "http://10.0.0.1:4040@evil.example/",
        "http://10.0.0.1:4041/",
        "http://[evil/",
        "ftp://10.0.0.1:4040/",
        "/é",
    ],
)
def test_a_redirect_to_elsewhere_is_refused(text):
    with pytest.raises(ForeignRedirect):
        location(text)


@given(st.text(st.characters(max_codepoint=255), max_size=30))
def test_a_redirect_never_begins_with_another_host(text):
    try:
        passed = location(text)
    except (ForeignRedirect, HTTPInputError):
        return
    # As a browser reads it.
    read = passed.replace("\\", "/").replace("\t", "")
    assert not read.startswith("//")
    assert not re.match(r"[a-z][a-z0-9+.-]*:", read, re.IGNORECASE)
