import json
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec

from enterprise_gateway.kernelspecs.catalogue import Kernelspec
from enterprise_gateway.web.images import image_table
from enterprise_gateway_common.node_images import NodeImages


def kernelspec(name, image):
    metadata = {"process_proxy": {"class_name": "KubernetesProcessProxy", "config": {"image_name": image}}}
    return Kernelspec(name, Path("/"), KernelSpec(argv=["x"], metadata=metadata), ())


def table(specs, *told):
    return image_table({name: kernelspec(name, image) for name, image in specs.items()}, list(told))


def test_an_image_that_is_wanted_and_nowhere_is_listed():
    assert table({"python": "elyra/kernel-py:1"}) == {
        "nodes": [],
        "images": [{"image": "docker.io/elyra/kernel-py:1", "kernelspecs": ["python"], "nodes": {}}],
    }


def test_short_and_complete_names_of_an_image_are_one():
    (image,) = table({"a": "elyra/x", "b": "docker.io/elyra/x:latest"})["images"]
    assert image["kernelspecs"] == ["a", "b"]


def test_each_node_shows_its_own_state():
    one = NodeImages("one", {"docker.io/elyra/x:1": "present"})
    two = NodeImages("two", {"docker.io/elyra/x:1": "pulling", "docker.io/elyra/y:1": "failed"})
    found = table({"a": "elyra/x:1"}, two, one)
    assert found["nodes"] == ["one", "two"]
    assert found["images"] == [
        {"image": "docker.io/elyra/x:1", "kernelspecs": ["a"], "nodes": {"one": "present", "two": "pulling"}},
        {"image": "docker.io/elyra/y:1", "kernelspecs": [], "nodes": {"two": "failed"}},
    ]


def test_a_kernelspec_whose_image_cannot_be_read_hides_no_other():
    assert [image["kernelspecs"] for image in table({"bad": "no image!", "good": "x"})["images"]] == [["good"]]


def test_without_a_cluster_the_table_has_no_nodes(gateway):
    assert gateway().request("GET", "/api/images").json() == {"nodes": [], "images": []}


def test_a_user_learns_nothing_of_a_kernelspec_that_the_user_may_not_start(gateway, kernelspec_folder):
    config = {"image_name": "elyra/secret:1", "authorized_users": "alice"}
    metadata = {"process_proxy": {"class_name": "KubernetesProcessProxy", "config": config}}
    content = {"argv": ["x"], "display_name": "x", "language": "x", "metadata": metadata}
    (kernelspec_folder / "restricted" / "kernel.json").write_text(json.dumps(content))
    running = gateway()
    seen = {user: running.request("GET", f"/api/images?user={user}").json()["images"] for user in ("alice", "bob")}
    assert seen == {"alice": [{"image": "docker.io/elyra/secret:1", "kernelspecs": ["restricted"], "nodes": {}}], "bob": []}


def test_what_pullers_keep_for_others_is_left_out_of_a_users_table():
    told = NodeImages("one", {"docker.io/elyra/x:1": "present", "docker.io/elyra/y:1": "present"})
    found = image_table({"a": kernelspec("a", "elyra/x:1")}, [told], only_wanted=True)
    assert [image["image"] for image in found["images"]] == ["docker.io/elyra/x:1"]
