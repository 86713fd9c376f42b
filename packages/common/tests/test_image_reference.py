import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enterprise_gateway_common.image_reference import ImageReference, InvalidImageReference, parse_image_reference

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("written", "complete"),
    [
        ("python", "docker.io/library/python:latest"),
        ("python:3.11", "docker.io/library/python:3.11"),
        ("elyra/kernel-py:3.2.3", "docker.io/elyra/kernel-py:3.2.3"),
        ("docker.io/python", "docker.io/library/python:latest"),
        ("index.docker.io/python", "docker.io/library/python:latest"),
        ("index.docker.io/elyra/kernel-py", "docker.io/elyra/kernel-py:latest"),
        ("quay.io/x", "quay.io/x:latest"),
        ("gcr.io/k:1", "gcr.io/k:1"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/x:1", "localhost:5000/x:1"),
        ("127.0.0.1:5000/elyra/kernel-py:dev", "127.0.0.1:5000/elyra/kernel-py:dev"),
        ("[::1]:5000/x", "[::1]:5000/x:latest"),
        ("Registry/x", "Registry/x:latest"),
        ("a/b:1@" + DIGEST, "docker.io/a/b@" + DIGEST),
        ("quay.io/k@" + DIGEST, "quay.io/k@" + DIGEST),
        ("a/b__c/d--e.f:_1.2-3", "docker.io/a/b__c/d--e.f:_1.2-3"),
        ("foo:5000", "docker.io/library/foo:5000"),
    ],
)
def test_a_name_is_completed_as_every_runtime_completes_it(written: str, complete: str) -> None:
    assert str(parse_image_reference(written)) == complete


@pytest.mark.parametrize(
    ("written", "complete"),
    [
        ("kernel-py:1", "registry.example.org/kernel-py:1"),
        ("elyra/kernel-py:1", "registry.example.org/elyra/kernel-py:1"),
        ("quay.io/x:1", "quay.io/x:1"),
        ("localhost:5000/x:1", "localhost:5000/x:1"),
        ("docker.io/python:3", "docker.io/library/python:3"),
        ("a@" + DIGEST, "registry.example.org/a@" + DIGEST),
    ],
)
def test_the_default_registry_applies_only_where_the_name_has_none(written: str, complete: str) -> None:
    assert str(parse_image_reference(written, default_registry="registry.example.org")) == complete


def test_a_default_registry_may_have_a_path() -> None:
    assert str(parse_image_reference("python:3", "mirror.example.org/hub/")) == "mirror.example.org/hub/python:3"


def test_docker_io_as_the_default_registry_still_means_its_library_folder() -> None:
    assert str(parse_image_reference("python:3", default_registry="docker.io")) == "docker.io/library/python:3"


def test_a_default_registry_without_a_dot_is_a_registry_because_it_is_declared_as_one() -> None:
    assert str(parse_image_reference("python:3", default_registry="registry")) == "registry/python:3"


@pytest.mark.parametrize(
    "written",
    [
        "",
        " python",
        "python ",
        "a b",
        "--help",
        "-x",
        "http://quay.io/x",
        "https://quay.io/x",
        "Python",
        "quay.io/X",
        "quay.io/",
        "/x",
        "a//b",
        "a/b/",
        "a:",
        "a:b:c",
        "a:-tag",
        "a:" + "t" * 129,
        "a@sha256:abc",
        "a@sha256:" + "G" * 64,
        "a@md5:" + "0" * 32,
        "a@",
        "0" * 64,
        "a" * 256,
        "a\n",
        "a..b",
        "a___b",
        "registry_with_underscore.example/x",
        "quay.io:port/x",
        "élan",
    ],
)
def test_what_no_runtime_takes_is_refused(written: str) -> None:
    with pytest.raises(InvalidImageReference) as refused:
        parse_image_reference(written)
    assert refused.value.text == written
    assert refused.value.reason


def test_a_refusal_shows_only_the_beginning_of_a_very_long_text() -> None:
    with pytest.raises(InvalidImageReference) as refused:
        parse_image_reference("A" * 10_000)
    assert len(str(refused.value)) < 200


_part = st.from_regex(r"[a-z0-9]+((\.|_|__|-{1,3})[a-z0-9]+){0,2}", fullmatch=True)
_registry = st.one_of(
    st.none(),
    st.just("localhost"),
    st.from_regex(r"[a-z0-9]{1,8}\.[a-z]{2,3}(:[0-9]{1,5})?", fullmatch=True),
    st.from_regex(r"[a-z]{1,8}:[0-9]{1,5}", fullmatch=True),
)
_tag = st.one_of(st.none(), st.from_regex(re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}"), fullmatch=True))
_digest = st.one_of(st.none(), st.text(alphabet="0123456789abcdef", min_size=64, max_size=64).map("sha256:{}".format))


@st.composite
def written_references(draw: st.DrawFn) -> str:
    registry, tag, digest = draw(_registry), draw(_tag), draw(_digest)
    path = "/".join(draw(st.lists(_part, min_size=1, max_size=3)))
    if registry is None and "/" in path:
        # A first part with a dot would be a registry.
        path = path.replace(".", "_")
    name = path if registry is None else f"{registry}/{path}"
    return name + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")


@given(written_references())
def test_the_complete_form_means_itself(written: str) -> None:
    reference = parse_image_reference(written)
    assert parse_image_reference(str(reference)) == reference


@given(written_references())
def test_a_complete_reference_has_a_registry_and_either_a_tag_or_a_digest(written: str) -> None:
    reference = parse_image_reference(written)
    assert reference.registry
    assert (reference.tag is None) != (reference.digest is None)


@given(written_references(), st.just("mirror.example.org"))
def test_a_default_registry_never_changes_a_complete_name(written: str, default: str) -> None:
    reference = parse_image_reference(written)
    assert parse_image_reference(str(reference), default) == reference


@given(st.text(alphabet=string.printable, max_size=60))
def test_any_text_is_either_a_complete_reference_or_refused(text: str) -> None:
    try:
        reference = parse_image_reference(text)
    except InvalidImageReference:
        return
    assert isinstance(reference, ImageReference)
    assert not set(str(reference)) & set(string.whitespace)
    assert not str(reference).startswith("-")
