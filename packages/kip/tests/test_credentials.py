import base64
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enterprise_gateway_common.image_reference import parse_image_reference
from kernel_image_puller.credentials import CredentialStore


def _write(path: Path, auths: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"auths": auths}))
    return path


def _login(name: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{name}:secret-{name}".encode()).decode()}


def _users(store: CredentialStore, image: str) -> list[str]:
    return [candidate.username for candidate in store.candidates(parse_image_reference(image))]


@pytest.mark.parametrize(
    ("entry", "image", "applies"),
    [
        ("registry.example", "registry.example/a", True),
        ("https://registry.example", "registry.example/a", True),
        ("https://registry.example/v2/", "registry.example/a", True),
        ("registry.example", "other.example/a", False),
        ("registry.example", "sub.registry.example/a", False),
        ("*.example", "registry.example/a", True),
        ("*.registry.example", "x.registry.example/a", True),
        ("*.example", "a.b.example/x", False),
        ("reg*.example", "registry.example/a", True),
        ("registry.example:5000", "registry.example:5000/a", True),
        ("registry.example", "registry.example:5000/a", False),
        ("registry.example:5000", "registry.example/a", False),
        ("registry.example/team", "registry.example/team/a", True),
        ("registry.example/team", "registry.example/teammate/a", False),
        ("registry.example/team/a", "registry.example/team/a", True),
        ("https://index.docker.io/v1/", "elyra/kernel-py", True),
        ("docker.io", "python", True),
        ("https://index.docker.io/v1/", "quay.io/x", False),
    ],
)
def test_an_entry_applies_as_the_kubelet_says(tmp_path: Path, entry: str, image: str, applies: bool) -> None:  # noqa: FBT001  a row of the table
    store = CredentialStore(paths=[_write(tmp_path / "config.json", {entry: _login("u")})])
    assert _users(store, image) == (["u"] if applies else [])


def test_the_most_specific_entry_is_tried_first_and_all_that_match_follow(tmp_path: Path) -> None:
    auths = {
        "r.example": _login("host"),
        "r.example/team": _login("team"),
        "*.example": _login("glob"),
        "x.example": _login("no"),
    }
    store = CredentialStore(paths=[_write(tmp_path / "config.json", auths)])
    assert _users(store, "r.example/team/a") == ["team", "host", "glob"]


def test_mounted_secrets_are_found_each_in_its_folder(tmp_path: Path) -> None:
    _write(tmp_path / "one" / ".dockerconfigjson", {"one.example": _login("one")})
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / ".dockercfg").write_text(json.dumps({"two.example": {"username": "two", "password": "p"}}))
    store = CredentialStore(paths=[tmp_path])
    assert _users(store, "one.example/a") == ["one"]
    assert _users(store, "two.example/a") == ["two"]


def test_a_secret_that_kubernetes_renews_is_read_again(tmp_path: Path) -> None:
    versions = tmp_path / "..2026_01", tmp_path / "..2026_02"
    _write(versions[0] / ".dockerconfigjson", {"r.example": _login("old")})
    _write(versions[1] / ".dockerconfigjson", {"r.example": _login("new")})
    (tmp_path / "..data").symlink_to(versions[0])
    (tmp_path / ".dockerconfigjson").symlink_to(Path("..data", ".dockerconfigjson"))
    store = CredentialStore(paths=[tmp_path])
    assert _users(store, "r.example/a") == ["old"]
    (tmp_path / "..new").symlink_to(versions[1])
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert _users(store, "r.example/a") == ["new"]


def test_a_folder_that_appears_later_is_found(tmp_path: Path) -> None:
    store = CredentialStore(paths=[tmp_path / "later"])
    assert _users(store, "r.example/a") == []
    _write(tmp_path / "later" / "config.json", {"r.example": _login("u")})
    assert _users(store, "r.example/a") == ["u"]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"auths": 1}', '{"auths": {"r.example": 1}}', '{"auths": {"r.example": {"auth": "!!"}}}',
     '{"auths": {"r.example": {"auth": 7}}}', '{"auths": {"r.example": {"username": 1}}}', '{"auths": {"r.example": {}}}'],
)  # fmt: skip
def test_a_file_that_cannot_be_read_hides_no_other(tmp_path: Path, content: str) -> None:
    (tmp_path / "bad.json").write_text(content)
    store = CredentialStore(paths=[tmp_path / "bad.json", _write(tmp_path / "config.json", {"r.example": _login("good")})])
    assert _users(store, "r.example/a") == ["good"]


def test_a_file_without_permission_is_reported_without_its_content(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b'{"auths": {"r.example": {"password": "s3cr3t", \xff')
    CredentialStore(paths=[path]).candidates(parse_image_reference("r.example/a"))
    assert "can't be read" in caplog.text
    assert "s3cr3t" not in caplog.text


def test_a_credential_never_prints_its_secret(tmp_path: Path) -> None:
    entry = {"username": "someone", "password": "s3cr3t", "identitytoken": "t0k3n"}
    store = CredentialStore(paths=[_write(tmp_path / "config.json", {"r.example": entry})])
    (candidate,) = store.candidates(parse_image_reference("r.example/a"))
    assert candidate.password == "s3cr3t"
    for shown in (repr(candidate), str(candidate), candidate.source):
        assert not any(secret in shown for secret in ("s3cr3t", "t0k3n", "someone"))


def test_reading_again_sees_a_change_that_keeps_size_and_time(tmp_path: Path) -> None:
    path = _write(tmp_path / "config.json", {"r.example": _login("a")})
    store = CredentialStore(paths=[path])
    assert _users(store, "r.example/a") == ["a"]
    before = path.stat()
    with path.open("r+") as stream:
        stream.write(json.dumps({"auths": {"r.example": _login("b")}}))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    store.read_again()
    assert _users(store, "r.example/a") == ["b"]


@given(st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8}){1,3}(:[0-9]{1,4})?", fullmatch=True))
def test_an_entry_for_a_registry_applies_to_every_image_of_it(registry: str) -> None:
    from kernel_image_puller.credentials import _entry

    entry = _entry(f"https://{registry}/v1/", {"username": "u", "password": "p"}, "place")
    assert entry is not None
    assert entry.matches(parse_image_reference(f"{registry}/any/image:1"))


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that refuses to be looked into, for root too."""
    folder = tmp_path / "locked"
    folder.mkdir()
    is_file = Path.is_file

    def refuse(path: Path) -> bool:
        if path.is_relative_to(folder):
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refuse)
    return folder


@pytest.mark.parametrize("below", ["", ".docker/config.json"])
def test_a_place_that_cannot_be_looked_into_is_reported_once_and_hides_no_other(
    locked: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, below: str
) -> None:
    readable = _write(tmp_path / "config.json", {"r.example": _login("u")})
    store = CredentialStore(paths=[locked / below, readable])
    assert [_users(store, "r.example/a") for _ in range(3)] == [["u"]] * 3
    assert caplog.text.count("can't be looked for") == 1


def test_a_locked_folder_among_mounted_secrets_hides_no_other(locked: Path) -> None:
    _write(locked.parent / "mounted" / "config.json", {"r.example": _login("u")})
    assert _users(CredentialStore(paths=[locked.parent]), "r.example/a") == ["u"]
