import asyncio
import json
import logging
import os

import pytest
from jupyter_client.kernelspec import KernelSpecManager

from enterprise_gateway.errors import KernelspecNotFound
from enterprise_gateway.kernelspecs import catalogue as catalogue_module
from enterprise_gateway.kernelspecs.catalogue import KernelspecCatalogue


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(tmp_path, clock):
    def make_catalogue(allowed=()):
        manager = KernelSpecManager(kernel_dirs=[str(tmp_path)], ensure_native_kernel=False)
        return KernelspecCatalogue(manager=manager, allowed=frozenset(allowed), max_age=1.0, clock=clock)

    return make_catalogue


def write(folder, name, **document):
    (folder / name).mkdir(exist_ok=True)
    content = {"argv": ["x"], "display_name": name, "language": "python", **document}
    (folder / name / "kernel.json").write_text(json.dumps(content))


def names(catalogue):
    return list(asyncio.run(catalogue.all()))


def test_kernelspecs_are_found_in_the_order_of_their_names(make, tmp_path):
    write(tmp_path, "b")
    write(tmp_path, "a")
    assert names(make()) == ["a", "b"]


def test_a_changed_file_is_seen_after_the_age_and_not_before(make, tmp_path, clock):
    write(tmp_path, "a")
    catalogue = make()
    assert names(catalogue) == ["a"]
    write(tmp_path, "b")
    clock.now += 0.9
    assert names(catalogue) == ["a"]
    clock.now += 0.2
    assert names(catalogue) == ["a", "b"]


def age(folder):
    """Make everything of a kernelspec look old; what is young is always read."""
    for path in (folder / "kernel.json", folder):
        os.utime(path, (1e9, 1e9))


@pytest.fixture
def readings(monkeypatch):
    """The names of the kernelspecs that were read, in order."""
    names, read = [], catalogue_module._read_kernelspec
    monkeypatch.setattr(catalogue_module, "_read_kernelspec", lambda name, folder: names.append(name) or read(name, folder))
    # The time of a change of a file's state can't be set, and it is now.
    monkeypatch.setattr(catalogue_module, "_YOUNG_SECONDS", 0.0)
    return names


def test_what_has_not_changed_is_not_read_again(make, tmp_path, clock, readings):
    for name in ("a", "b"):
        write(tmp_path, name)
        age(tmp_path / name)
    catalogue = make()
    before = asyncio.run(catalogue.all())
    write(tmp_path, "b", language="other")
    clock.now += 2
    now = asyncio.run(catalogue.all())
    assert readings == ["a", "b", "b"]
    assert now["a"] is before["a"]
    assert now["b"].spec.language == "other"


def test_a_file_that_comes_beside_a_kernelspec_is_seen(make, tmp_path, clock, readings):
    write(tmp_path, "a")
    age(tmp_path / "a")
    catalogue = make()
    assert asyncio.run(catalogue.get("a")).resources == ()
    (tmp_path / "a" / "logo-64x64.png").write_bytes(b"x")
    clock.now += 2
    assert asyncio.run(catalogue.get("a")).resources == ("logo-64x64.png",)
    assert readings == ["a", "a"]


def test_what_changed_a_moment_ago_is_read_again_for_the_change_that_looks_the_same(make, tmp_path, clock, readings, monkeypatch):
    monkeypatch.setattr(catalogue_module, "_YOUNG_SECONDS", 3600.0)
    write(tmp_path, "a")
    catalogue = make()
    for _ in range(3):
        assert names(catalogue) == ["a"]
        clock.now += 2
    assert readings == ["a"] * 3


def test_one_that_was_broken_is_read_again_when_it_is_mended(make, tmp_path, clock, readings):
    write(tmp_path, "a", argv=[])
    catalogue = make()
    assert names(catalogue) == []
    write(tmp_path, "a")
    clock.now += 2
    assert names(catalogue) == ["a"]
    assert readings == ["a", "a"]


def test_a_swapped_link_is_seen_as_kubernetes_swaps_them(make, tmp_path, clock):
    for version in ("1", "2"):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "kernel.json").write_text(json.dumps({"argv": ["x"], "display_name": version}))
    (tmp_path / "a").mkdir()
    (tmp_path / "..data").symlink_to(tmp_path / "..1")
    (tmp_path / "a" / "kernel.json").symlink_to(tmp_path / "..data" / "kernel.json")
    catalogue = make()

    async def display_name():
        return (await catalogue.get("a")).spec.display_name

    assert asyncio.run(display_name()) == "1"
    (tmp_path / "..data_tmp").symlink_to(tmp_path / "..2")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    clock.now += 2
    assert asyncio.run(display_name()) == "2"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"argv": "x"}',
        '{"argv": []}',
        '{"argv": ["x"], "env": {"N": 1}}',
        '{"argv": ["x"], "env": 5}',
        '{"argv": ["x"], "metadata": 5}',
        '{"argv": ["x"], "metadata": {"process_proxy": 1}}',
    ],
)
def test_a_broken_kernelspec_hides_no_other_and_is_reported(make, tmp_path, content):
    write(tmp_path, "good")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "kernel.json").write_text(content)
    catalogue = make()
    assert names(catalogue) == ["good"]
    assert set(catalogue.problems) == {"broken"}


def test_only_allowed_names_are_offered_compared_without_case(make, tmp_path):
    write(tmp_path, "a")
    write(tmp_path, "b")
    assert names(make(allowed={"A"})) == ["a"]


def test_a_name_that_is_allowed_and_not_there_does_no_harm(make, tmp_path):
    write(tmp_path, "a")
    assert names(make(allowed={"a", "elsewhere"})) == ["a"]


def test_what_is_there_and_not_offered_is_logged_once_with_the_setting(make, tmp_path, clock, caplog):
    for name in ("a", "own"):
        write(tmp_path, name)
    catalogue = make(allowed={"a"})
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            names(catalogue)
            clock.now += 2
    (told,) = [record for record in caplog.records if record.getMessage() == "Kernelspecs not offered"]
    assert told.kernelspecs == ["own"]
    assert "EG_ALLOWED_KERNELS" in told.advice


def test_an_unknown_name_is_answered_with_those_that_exist(make, tmp_path):
    write(tmp_path, "a")
    with pytest.raises(KernelspecNotFound, match=r"named '\.\./x'. Kernels that exist here: a\."):
        asyncio.run(make().get("../x"))


def test_who_asks_while_the_folders_are_read_shares_that_reading(make, tmp_path, monkeypatch):
    write(tmp_path, "a")
    catalogue = make()
    readings = []
    read = catalogue._read_folders
    monkeypatch.setattr(catalogue, "_read_folders", lambda: readings.append(1) or read())

    async def ask():
        await asyncio.gather(*(catalogue.all() for _ in range(20)))

    asyncio.run(ask())
    assert len(readings) == 1


def test_a_client_that_goes_away_does_not_end_the_reading_of_the_others(make, tmp_path):
    write(tmp_path, "a")
    catalogue = make()

    async def ask():
        first = asyncio.create_task(catalogue.all())
        second = asyncio.create_task(catalogue.all())
        await asyncio.sleep(0)
        first.cancel()
        return list(await second)

    assert asyncio.run(ask()) == ["a"]


def test_the_model_names_the_resources_below_the_base_url(make, tmp_path):
    write(tmp_path, "a", metadata={"x": 1}, env={"A": "1"})
    (tmp_path / "a" / "logo-64x64.png").write_bytes(b"x")
    (tmp_path / "a" / "kernel.js").write_bytes(b"x")
    (tmp_path / "a" / "secret.txt").write_bytes(b"x")
    model = asyncio.run(make().get("a")).model("/base/")
    assert model["resources"] == {
        "kernel.js": "/base/kernelspecs/a/kernel.js",
        "logo-64x64": "/base/kernelspecs/a/logo-64x64.png",
    }
    assert model["spec"]["env"] == {"A": "1"}
    assert model["spec"]["metadata"] == {"x": 1}
