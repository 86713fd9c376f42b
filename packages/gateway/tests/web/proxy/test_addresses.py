import pytest

from enterprise_gateway.web.proxy.addresses import host_and_port, kernel_target, without_token


@pytest.mark.parametrize(
    ("uri", "text", "lacks_slash"),
    [
        ("/api/kernels/1/proxy/4040", "/", True),
        ("/api/kernels/1/proxy/4040?a=1&token=x", "/?a=1", True),
        ("/api/kernels/1/proxy/4040/", "/", False),
        ("/api/kernels/1/proxy/4040/a/%2e%2e/%2F..%252f//b;c?x=%20&y", "/a/%2e%2e/%2F..%252f//b;c?x=%20&y", False),
        ("/api/kernels/1/proxy/4040//evil.example/", "//evil.example/", False),
        ("/api/kernels/1/proxy/4040/@evil.example:80/#x", "/@evil.example:80/#x", False),
        ("/api/kernels/1/proxy/4040/http://evil.example/", "/http://evil.example/", False),
    ],
)
def test_the_kernel_is_asked_for_what_the_client_wrote(uri, text, lacks_slash):
    assert kernel_target(uri, base_url="/", skipped=5) == (text, lacks_slash)
    assert kernel_target("/some/where" + uri, base_url="/some/where/", skipped=5) == (text, lacks_slash)


@pytest.mark.parametrize("query", ["token=x", "%74oken=x", "token", "token=x&%74%6f%6b%65%6e=y"])
def test_a_token_never_passes_however_it_is_written(query):
    assert without_token(query) == ""
    assert without_token(f"a=%20&{query}&b=+") == "a=%20&b=+"


def test_parameters_that_only_look_like_a_token_pass():
    assert without_token("tokens=1&xtoken=2&=token&a=token") == "tokens=1&xtoken=2&=token&a=token"


def test_an_address_of_ipv6_has_its_brackets():
    assert host_and_port("fd00::1", 4040) == "[fd00::1]:4040"
    assert host_and_port("10.0.0.1", 4040) == "10.0.0.1:4040"
