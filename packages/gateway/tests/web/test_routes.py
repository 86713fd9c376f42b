import re

import pytest

from enterprise_gateway.web.health import LiveHandler
from enterprise_gateway.web.routes import Route


def match(path, uri, base_url="/"):
    return re.fullmatch(Route(path=path, handler=LiveHandler).pattern(base_url), uri)


def test_a_slash_at_the_end_changes_nothing():
    assert match("/api/kernels", "/api/kernels")
    assert match("/api/kernels", "/api/kernels/")
    assert not match("/api/kernels", "/api/kernels//")


def test_a_variable_part_ends_at_the_next_slash():
    assert match("/api/kernels/{kernel_id}", "/api/kernels/a%2fb")["kernel_id"] == "a%2fb"
    assert not match("/api/kernels/{kernel_id}", "/api/kernels/a/b")
    assert not match("/api/kernels/{kernel_id}", "/api/kernels/")


def test_a_path_takes_the_rest():
    found = match("/kernelspecs/{kernel_name}/{path}", "/kernelspecs/r/a/b.png")
    assert (found["kernel_name"], found["path"]) == ("r", "a/b.png")


@pytest.mark.parametrize("base_url", ["/", "/gateway/", "/a.b/"])
def test_everything_is_below_the_base_url(base_url):
    assert match("/api", base_url + "api", base_url)
    assert not match("/api", "/xapi", base_url)


def test_a_dot_in_a_base_url_is_only_a_dot():
    assert not match("/api", "/aXb/api", "/a.b/")
