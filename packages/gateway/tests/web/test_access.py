import os
import time

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from enterprise_gateway.errors import Forbidden, Unauthenticated
from enterprise_gateway.identity import ANONYMOUS, Identity
from enterprise_gateway.web.access import Access, CrossOriginHeaders, TokenFile


class Connection:
    """What tornado's request asks of its connection."""

    def __init__(self, certificate=None):
        self.context = self
        self.remote_ip, self.protocol = "127.0.0.1", "https"
        self.stream = self
        self.socket = self
        self._certificate = certificate

    def getpeercert(self, **_):
        return self._certificate


def request(uri="/api", certificate=None, **headers):
    named = HTTPHeaders({name.replace("_", "-"): value for name, value in {"Host": "gateway:8888", **headers}.items()})
    return HTTPServerRequest(
        start_line=RequestStartLine("GET", uri, "HTTP/1.1"), headers=named, connection=Connection(certificate)
    )


def test_without_a_token_everybody_is_let_in():
    assert Access(token="").authenticate(request()) == ANONYMOUS


@pytest.mark.parametrize("header", ["token abc", "Bearer abc", "TOKEN abc", "bearer   abc "])
def test_the_token_may_come_in_the_header_under_either_scheme(header):
    assert Access(token="abc").authenticate(request(Authorization=header)) == ANONYMOUS


def test_the_token_may_come_in_the_query_and_wins_over_the_header():
    access = Access(token="abc")
    assert access.authenticate(request("/api?token=abc", Authorization="token wrong")) == ANONYMOUS
    with pytest.raises(Unauthenticated):
        access.authenticate(request("/api?token=wrong", Authorization="token abc"))


@pytest.mark.parametrize(
    "header", ["", "abc", "token", "token ", "Basic abc", "token abcd", "token ab", "token ABC", "token \xe4"]
)
def test_anything_else_is_refused_and_the_answer_holds_no_token(header):
    with pytest.raises(Unauthenticated) as caught:
        Access(token="abc").authenticate(request(Authorization=header))
    assert "abc" not in caught.value.message


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tokens"
    path.write_text("# people\nalice:one\n\nbob: two\n")
    return path


def test_a_token_of_the_file_makes_its_user(file):
    access = Access(token="shared", token_file=TokenFile(file))
    assert access.authenticate(request(Authorization="token one")) == Identity("alice")
    assert access.authenticate(request(Authorization="Bearer two")) == Identity("bob")
    assert access.authenticate(request(Authorization="token shared")) == ANONYMOUS
    with pytest.raises(Unauthenticated):
        access.authenticate(request(Authorization="token three"))


def test_a_changed_file_takes_effect_and_a_broken_one_does_not(file):
    tokens = TokenFile(file)
    file.write_text("alice:new\n")
    assert dict(tokens.users()) == {b"new": "alice"}
    file.write_text("no colon here, but longer than before\n")
    assert dict(tokens.users()) == {b"new": "alice"}
    file.unlink()
    assert dict(tokens.users()) == {b"new": "alice"}


@pytest.mark.parametrize("line", ["alice", "alice:", ":token", "alice:one\nbob:one", "alice:o one"])
def test_a_file_that_is_wrong_at_the_start_is_refused_without_its_tokens(tmp_path, line):
    path = tmp_path / "tokens"
    path.write_text(line)
    with pytest.raises(ValueError, match=r"line \d of the file of tokens") as caught:
        TokenFile(path)
    assert "one" not in str(caught.value)


def test_comparing_takes_no_time_that_tells_how_much_of_a_token_is_right():
    # What is checked is the means, hmac.compare_digest; a difference of nanoseconds can't be measured here.
    assert "compare_digest" in Access._identity.__code__.co_names


def test_a_clients_certificate_must_carry_the_configured_name():
    access = Access(token="", authorized_origin="lab.example")
    certificate = {"subjectAltName": (("DNS", "lab.example"),)}
    assert access.authenticate(request(certificate=certificate)) == ANONYMOUS
    for wrong in (None, {}, {"subjectAltName": (("DNS", "lab.example.evil"),)}):
        with pytest.raises(Forbidden):
            access.authenticate(request(certificate=wrong))


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://gateway:8888", True),
        ("https://GATEWAY:8888", True),
        ("http://gateway", False),
        ("http://gateway:8888.evil", False),
        ("http://evil/gateway:8888", False),
        ("null", False),
        ("", False),
    ],
)
def test_only_pages_of_the_gateways_own_origin_may_change_anything(origin, allowed):
    assert Access(token="").origin_allowed(origin, request()) is allowed


def test_the_configured_origin_is_allowed_too():
    access = Access(token="", allow_origin="https://lab.example")
    assert access.origin_allowed("https://lab.example", request())
    assert not access.origin_allowed("https://lab.example.evil", request())


def test_the_asterisk_allows_every_origin():
    assert Access(token="", allow_origin="*").origin_allowed("https://anywhere", request())


def test_headers_that_are_not_configured_are_not_sent():
    assert CrossOriginHeaders({"Access-Control-Allow-Origin": "*", "Access-Control-Max-Age": ""}).items() == (
        ("Access-Control-Allow-Origin", "*"),
    )


def test_a_file_written_again_within_the_clocks_resolution_is_seen_by_its_size(file):
    tokens = TokenFile(file)
    before = file.stat()
    file.write_text("alice:another\n")
    os.utime(file, ns=(time.time_ns(), before.st_mtime_ns))
    assert dict(tokens.users()) == {b"another": "alice"}


class Authorizer:
    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def is_authorized(self, *what):
        self.asked.append(what)
        return self.answer


def test_an_authorizer_is_told_user_method_and_path_and_decides():
    handler, asking = object(), request("/api/kernels/1?token=canary")
    asking.method = "DELETE"
    allowing = Authorizer(answer=True)
    Access(token="", authorizer=allowing).authorize(handler, Identity("alice"), asking)
    assert allowing.asked == [(handler, "alice", "delete", "/api/kernels/1")]
    with pytest.raises(Forbidden):
        Access(token="", authorizer=Authorizer(answer=False)).authorize(handler, Identity("alice"), asking)
