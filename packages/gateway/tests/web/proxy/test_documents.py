import base64
import hashlib

import pytest
from tornado.httputil import HTTPHeaders

from enterprise_gateway.web.proxy.documents import Document, document_headers, is_document

SCRIPT = b"<script>"


def added(*pieces):
    """Return what is sent for the pieces of a page, and behind it what is sent at its end."""
    document = Document()
    return [*(document.take(piece) for piece in pieces), document.end()]


@pytest.mark.parametrize(
    ("before", "page"),
    [
        (b"<!DOCTYPE html>", b"<html><head><script>1</script>"),
        (b"\xef\xbb\xbf\n <!-- a > b --> <!doctype html PUBLIC 'x'>", b"<p>"),
        (b"", b"<html>"),
        (b"", b"text"),
        (b"\n", b"<head>"),
    ],
)
def test_the_stand_in_comes_before_every_script_and_behind_the_kind_of_document(before, page):
    whole = b"".join(added(before + page))
    assert whole.startswith(before + SCRIPT)
    assert whole.endswith(b"</script>" + page)
    assert b"".join(added(*(bytes([byte]) for byte in before + page))) == whole


def test_a_page_is_held_no_longer_than_until_it_has_begun():
    held, shown, rest, end = added(b" <!doctype html", b"><p>one", b"<p>two")
    assert held == end == b""
    assert shown.endswith(b"<p>one")
    assert rest == b"<p>two"
    assert added(b"<!--" + b"x" * 5000)[0] != b""


def test_an_empty_page_stays_empty():
    assert added() == [b""]


@pytest.mark.parametrize(
    ("status", "headers", "is_one"),
    [
        (200, {"Content-Type": "text/html"}, True),
        (200, {"Content-Type": "Text/HTML; charset=utf-8", "Content-Length": "5"}, True),
        (200, {"Content-Type": "text/html; charset=UTF-16"}, False),
        (200, {"Content-Type": "text/html", "Content-Length": "0"}, False),
        (200, {"Content-Type": "text/html", "Content-Encoding": "gzip"}, False),
        (200, {"Content-Type": "application/json"}, False),
        (200, {}, False),
        (206, {"Content-Type": "text/html"}, False),
        (304, {"Content-Type": "text/html"}, False),
    ],
)
def test_a_document_is_a_page_whose_beginning_can_be_read(status, headers, is_one):
    assert is_document(status, HTTPHeaders(headers)) is is_one


def test_a_page_is_longer_by_what_was_added():
    longer = document_headers(HTTPHeaders({"Content-Length": "5"}))["Content-Length"]
    assert int(longer) == len(b"".join(added(b"12345")))
    assert "Content-Length" not in document_headers(HTTPHeaders())


HASH = f"'sha256-{base64.b64encode(hashlib.sha256(added(b'x')[0][len(SCRIPT) : -len(b'</script>x')]).digest()).decode()}'"


@pytest.mark.parametrize(
    ("policy", "then"),
    [
        (
            "script-src 'self' 'nonce-1'; img-src *",
            f"script-src 'self' 'nonce-1' {HASH}; img-src *; worker-src 'self' 'nonce-1' blob:",
        ),
        ("default-src 'self'", f"default-src 'self' {HASH}; worker-src 'self' blob:"),
        (
            "default-src 'none';script-src-elem 'self';script-src x",
            f"default-src 'none'; script-src-elem 'self' {HASH}; script-src x; worker-src x blob:",
        ),
        (
            "script-src 'unsafe-inline' 'sha256-a' blob:",
            f"script-src 'unsafe-inline' 'sha256-a' blob: {HASH}",
        ),
        (
            "script-src 'self', worker-src b; img-src c",
            f"script-src 'self' {HASH}; worker-src 'self' blob:, img-src c; worker-src b blob:",
        ),
        ("script-src 'unsafe-inline'", "script-src 'unsafe-inline'; worker-src 'unsafe-inline' blob:"),
        ("script-src 'none'", "script-src 'none'"),
        ("script-src *; worker-src 'none'", f"script-src * {HASH}; worker-src 'none'"),
        ("frame-ancestors 'self'", "frame-ancestors 'self'"),
        ("", ""),
    ],
)
def test_a_pages_own_policy_lets_the_stand_in_run_and_no_other_script_that_it_forbids(policy, then):
    assert document_headers(HTTPHeaders({"Content-Security-Policy": policy}))["Content-Security-Policy"] == then


def test_each_policy_of_a_page_counts():
    headers = HTTPHeaders()
    for policy in ("script-src a", "img-src b"):
        headers.add("Content-Security-Policy", policy)
    assert document_headers(headers).get_list("Content-Security-Policy") == [
        f"script-src a {HASH}; worker-src a blob:",
        "img-src b",
    ]
