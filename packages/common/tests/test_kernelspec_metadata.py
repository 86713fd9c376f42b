from typing import Any

import pytest

from enterprise_gateway_common.kernelspec_metadata import (
    KernelspecImage,
    MalformedMetadataError,
    kernelspec_images,
    provisioner_config,
    provisioner_stanza,
    proxy_ports,
)


def _spec(section: str, **config: object) -> dict[str, Any]:
    return {"argv": [], "metadata": {section: {"class_name": "x.Y", "config": config}}}


@pytest.mark.parametrize("section", ["process_proxy", "kernel_provisioner"])
def test_both_images_of_both_sections_are_read(section: str) -> None:
    spec = _spec(section, image_name="a:1", executor_image_name="b:1")
    assert kernelspec_images(spec) == [KernelspecImage("a:1"), KernelspecImage("b:1")]


def test_an_image_that_is_named_twice_is_returned_once() -> None:
    spec = _spec("process_proxy", image_name="a:1", executor_image_name="a:1")
    spec["metadata"]["kernel_provisioner"] = spec["metadata"]["process_proxy"]
    assert kernelspec_images(spec) == [KernelspecImage("a:1")]


def test_node_selector_and_pull_policy_apply_to_the_images_beside_them() -> None:
    spec = _spec("process_proxy", image_name="gpu:1", node_selector={"b": "2", "a": "1"}, image_pull_policy="Always")
    assert kernelspec_images(spec) == [KernelspecImage("gpu:1", "Always", (("a", "1"), ("b", "2")))]


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"metadata": None},
        {"metadata": {}},
        {"metadata": {"process_proxy": None}},
        {"metadata": {"process_proxy": {"class_name": "local"}}},
        {"metadata": {"process_proxy": {"config": None}}},
        _spec("process_proxy", image_name=None),
        _spec("process_proxy", image_name="  "),
        {"metadata": {"debugger": True}},
    ],
)
def test_a_kernelspec_without_an_image_wants_none(spec: dict[str, Any]) -> None:
    assert kernelspec_images(spec) == []


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ([], "the kernelspec"),
        ("x", "the kernelspec"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"process_proxy": "x"}}, "metadata.process_proxy"),
        ({"metadata": {"process_proxy": {"config": 1}}}, "metadata.process_proxy.config"),
        (_spec("kernel_provisioner", image_name=3), "metadata.kernel_provisioner.config.image_name"),
        (_spec("process_proxy", image_name="a", node_selector=["x"]), "node_selector"),
        (_spec("process_proxy", image_name="a", node_selector={"x": 1}), "node_selector"),
        (_spec("process_proxy", image_name="a", image_pull_policy="Sometimes"), "image_pull_policy"),
        (_spec("process_proxy", image_name="a", image_pull_policy=["Always"]), "image_pull_policy"),
    ],
)
def test_a_wrong_shape_is_named_with_its_place(spec: object, place: str) -> None:
    with pytest.raises(MalformedMetadataError, match=place):
        kernelspec_images(spec)


def test_the_newer_form_decides_how_a_kernel_is_started() -> None:
    metadata = {
        "process_proxy": {"class_name": "x.Older", "config": {"image_name": "a"}},
        "kernel_provisioner": {"provisioner_name": "newer", "config": {"image_name": "b"}},
    }
    assert provisioner_stanza(metadata) == ("kernel_provisioner", "newer", {"image_name": "b"})
    assert provisioner_config(metadata) == {"image_name": "b"}


def test_without_a_stanza_there_is_no_config() -> None:
    assert provisioner_stanza({"debugger": True}) is None
    assert provisioner_config({}) == {}


@pytest.mark.parametrize(
    "metadata",
    [
        {"process_proxy": []},
        {"process_proxy": {"class_name": 1}},
        {"kernel_provisioner": {"provisioner_name": "x", "config": "y"}},
    ],
)
def test_a_malformed_stanza_is_refused(metadata: dict[str, Any]) -> None:
    with pytest.raises(MalformedMetadataError):
        provisioner_stanza(metadata)


def test_the_ports_that_the_gateway_passes_on_are_each_there_once() -> None:
    assert proxy_ports(_spec("kernel_provisioner", proxy_ports=[6006, 4040, 6006])["metadata"]) == (4040, 6006)
    assert proxy_ports(_spec("process_proxy", proxy_ports=[4040])["metadata"]) == (4040,)
    assert proxy_ports(_spec("kernel_provisioner")["metadata"]) == proxy_ports({}) == ()


@pytest.mark.parametrize("named", [4040, "4040", ["4040"], [True], [1023], [65536], [4040.0], [-1], {}, list(range(2000, 2017))])
def test_what_is_no_list_of_ports_is_refused(named: object) -> None:
    with pytest.raises(
        MalformedMetadataError, match=r"kernel_provisioner\.config\.proxy_ports is not a list of at most 16 ports"
    ):
        proxy_ports(_spec("kernel_provisioner", proxy_ports=named)["metadata"])
