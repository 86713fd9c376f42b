import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel_image_puller.errors import SourceFailed
from kernel_image_puller.sources.kernelspecs import KernelspecsSource
from kernel_image_puller.wanted import ImageRequest, PullPolicy

MakeSource = Callable[..., KernelspecsSource]


def _spec(**config: Any) -> dict[str, Any]:
    return {"spec": {"metadata": {"process_proxy": {"class_name": "x", "config": config}}}, "resources": {}}


def _answer(**kernelspecs: Any) -> bytes:
    return json.dumps({"default": "x", "kernelspecs": kernelspecs}).encode()


@pytest.fixture
def make_source(web: Any) -> Any:
    made: list[KernelspecsSource] = []

    def make(*, token: Callable[[], str] = str, path: str = "", timeout: float = 5.0) -> KernelspecsSource:
        source = KernelspecsSource(gateway=web.url + path, token=token, verify=True, timeout=timeout)
        made.append(source)
        return source

    yield make
    for source in made:
        source.close()


def test_images_of_all_kernelspecs_are_named_with_who_wants_them(web: Any, make_source: MakeSource) -> None:
    gpu = _spec(image_name="g:1", node_selector={"gpu": "yes"}, image_pull_policy="Always")
    body = _answer(py=_spec(image_name="a:1", executor_image_name="b:1"), gpu=gpu, local={"spec": {"argv": []}})
    web.answers = lambda *_request: (200, {}, body)
    assert make_source().fetch().requests == (
        ImageRequest("a:1", "py"),
        ImageRequest("b:1", "py"),
        ImageRequest("g:1", "gpu", PullPolicy.ALWAYS, (("gpu", "yes"),)),
    )


@pytest.mark.parametrize("bad", [None, 1, [], {"spec": None}, {"spec": {"metadata": {"process_proxy": 3}}}])
def test_a_bad_kernelspec_is_named_and_hides_no_other(web: Any, make_source: MakeSource, bad: object) -> None:
    web.answers = lambda *_request: (200, {}, _answer(broken=bad, good=_spec(image_name="a:1")))
    answer = make_source().fetch()
    assert [request.image for request in answer.requests] == ["a:1"]
    assert len(answer.problems) == 1
    assert "broken" in answer.problems[0]


def test_an_answer_that_has_not_changed_is_not_sent_again(web: Any, make_source: MakeSource) -> None:
    def answers(_method: str, _path: str, headers: dict[str, str], _body: bytes) -> tuple[int, dict[str, str], bytes]:
        if headers.get("If-None-Match") == '"1"':
            return 304, {"ETag": '"1"'}, b""
        return 200, {"ETag": '"1"'}, _answer(py=_spec(image_name="a:1"))

    web.answers = answers
    source = make_source()
    assert source.fetch() == source.fetch() == source.fetch()
    assert [request[2].get("If-None-Match") for request in web.requests] == [None, '"1"', '"1"']


def test_the_token_goes_in_a_header_only_and_is_asked_for_every_time(web: Any, make_source: MakeSource) -> None:
    web.answers = lambda *_request: (200, {}, _answer())
    tokens = iter(["one", "two"])
    source = make_source(token=lambda: next(tokens))
    source.fetch()
    source.fetch()
    assert [request[2].get("Authorization") for request in web.requests] == ["token one", "token two"]
    assert not any("token" in request[1] for request in web.requests)


def test_the_base_path_of_the_gateway_is_kept(web: Any, make_source: MakeSource) -> None:
    web.answers = lambda *_request: (200, {}, _answer())
    make_source(path="/gateway/").fetch()
    assert web.requests[0][1] == "/gateway/api/kernelspecs"


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (401, {}, b""),
        (500, {}, b"oops"),
        (302, {"Location": "http://elsewhere.example/"}, b""),
        (304, {}, b""),
        (200, {}, b"not json"),
        (200, {}, b"[]"),
        (200, {}, b'{"kernelspecs": []}'),
        (200, {}, b"{}"),
        (200, {}, b"[" * 200_000),
    ],
)
def test_an_answer_without_kernelspecs_is_a_failure(
    web: Any, make_source: MakeSource, status: int, headers: dict[str, str], body: bytes
) -> None:
    web.answers = lambda *_request: (status, headers, body)
    with pytest.raises(SourceFailed):
        make_source(token=lambda: "s3cr3t").fetch()


def test_a_gateway_that_is_away_is_a_failure_without_secrets() -> None:
    source = KernelspecsSource(gateway="http://127.0.0.1:1", token=lambda: "s3cr3t", verify=True, timeout=1.0)
    with pytest.raises(SourceFailed) as failed:
        source.fetch()
    assert "s3cr3t" not in str(failed.value)
    source.close()


def test_a_gateway_that_says_nothing_is_given_up_in_time(web: Any, make_source: MakeSource) -> None:
    over = threading.Event()

    def silence(*_request: Any) -> tuple[int, dict[str, str], bytes]:
        over.wait(30)
        return 200, {}, _answer()

    web.answers = silence
    try:
        with pytest.raises(SourceFailed, match="timed out"):
            make_source(timeout=0.2).fetch()
    finally:
        over.set()


def test_a_token_file_that_is_missing_is_a_failure(make_source: MakeSource) -> None:
    def read() -> str:
        raise FileNotFoundError("no such file")

    with pytest.raises(SourceFailed, match="token"):
        make_source(token=read).fetch()


def _read_undecodable() -> str:
    return b"s3cr3t\xff".decode()


@pytest.mark.parametrize(
    "token",
    [
        lambda: "s3cr3t\ns3cr3t",
        lambda: "s3cr3t\r\nX: y",
        lambda: "s3cr3t\u20ac",
        lambda: "s3cr3t x",
        lambda: "s3cr3t\0",
        _read_undecodable,
    ],
    ids=["two lines", "a header", "not Latin-1", "a blank", "a control character", "not UTF-8"],
)
def test_a_token_that_no_header_can_carry_is_named_and_never_shown(
    web: Any, make_source: MakeSource, token: Callable[[], str]
) -> None:
    with pytest.raises(SourceFailed, match="KIP_AUTH_TOKEN") as failed:
        make_source(token=token).fetch()
    assert "s3cr3t" not in str(failed.value)
    assert web.requests == []


def test_the_user_part_of_the_gateways_url_is_never_shown(web: Any, make_source: MakeSource) -> None:
    web.answers = lambda *_request: (500, {}, b"")
    source = KernelspecsSource(gateway=web.url.replace("//", "//u:s3cr3t@"), token=str, verify=True, timeout=5.0)
    with pytest.raises(SourceFailed, match="500") as failed:
        source.fetch()
    assert "s3cr3t" not in str(failed.value)
    source.close()


def test_a_file_of_certificates_that_is_missing_is_a_failure(tmp_path: Path) -> None:
    missing = str(tmp_path / "ca.crt")
    source = KernelspecsSource(gateway="https://127.0.0.1:1", token=str, verify=missing, timeout=1.0)
    with pytest.raises(SourceFailed, match=re.escape(missing)):
        source.fetch()
    source.close()


def test_an_address_that_is_none_is_a_failure() -> None:
    source = KernelspecsSource(gateway="http://[::1", token=str, verify=True, timeout=1.0)
    with pytest.raises(SourceFailed):
        source.fetch()
    source.close()
