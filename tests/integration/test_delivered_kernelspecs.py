"""deploy/kernelspecs: what its files have in common, and what each must have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from enterprise_gateway.launch.pod import split_documents
from enterprise_gateway.launch.template import find_executor_template, find_template, render
from enterprise_gateway_common.kernelspec_metadata import kernelspec_images

FOLDER = Path(__file__).parents[2] / "deploy" / "kernelspecs"
KERNELSPECS = sorted(path.parent for path in FOLDER.glob("*/kernel.json"))
TEMPLATE = FOLDER / "python_kubernetes" / "scripts" / "kernel-pod.yaml.j2"


@pytest.mark.parametrize("folder", KERNELSPECS, ids=lambda folder: folder.name)
def test_all_kernelspecs_have_one_template(folder):
    assert (folder / "scripts" / "kernel-pod.yaml.j2").read_text() == TEMPLATE.read_text()


@pytest.mark.parametrize("folder", KERNELSPECS, ids=lambda folder: folder.name)
def test_a_kernelspec_has_logos_a_name_for_people_an_image_and_a_way_to_be_interrupted(folder):
    spec = json.loads((folder / "kernel.json").read_text())
    assert {"logo-32x32.png", "logo-64x64.png", "logo-svg.svg"} <= {path.name for path in folder.iterdir()}
    assert spec["display_name"].endswith("on Kubernetes")
    assert spec["interrupt_mode"] in {"message", "signal"}
    assert spec["language"]
    assert all(image.image.startswith("elyra/kernel-") for image in kernelspec_images(spec))


@pytest.mark.parametrize("folder", KERNELSPECS, ids=lambda folder: folder.name)
def test_those_of_spark_and_no_others_have_one_template_of_executors(folder):
    template = find_executor_template(folder)
    if folder.name.startswith("spark_"):
        assert template == find_executor_template(FOLDER / "spark_python_kubernetes") is not None
    else:
        assert template is None


def test_executors_run_as_the_kernel_does():
    variables = {
        "kernel_uid": 1234,
        "kernel_gid": 500,
        "kernel_volumes": [{"name": "a", "emptyDir": {}}],
        "kernel_volume_mounts": [{"name": "a", "mountPath": "/a"}],
    }
    folder = FOLDER / "spark_python_kubernetes"
    ((kernel, _),) = [split_documents(render(find_template(folder), variables))]
    (executor,) = render(find_executor_template(folder), variables)
    for part in ("securityContext", "volumes"):
        assert executor["spec"][part] == kernel["spec"][part]
    for part in ("securityContext", "volumeMounts"):
        assert executor["spec"]["containers"][0][part] == kernel["spec"]["containers"][0][part]
