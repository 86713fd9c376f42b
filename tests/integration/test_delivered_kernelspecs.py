"""deploy/kernelspecs: what its files have in common, and what each must have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from enterprise_gateway_common.kernelspec_metadata import kernelspec_images

FOLDER = Path(__file__).parents[2] / "deploy" / "kernelspecs"
KERNELSPECS = sorted(path.parent for path in FOLDER.glob("*/kernel.json"))
TEMPLATE = FOLDER / "python_kubernetes" / "scripts" / "kernel-pod.yaml.j2"
# What pods of Spark's drivers have more: each text, and the line behind which it stands.
DRIVERS = (
    (
        "  serviceAccountName: {{ kernel_service_account_name }}\n",
        "  # By it the kernel starts its executors, which are pods of its own namespace.\n  automountServiceAccountToken: true\n",
    ),
    (
        "    image: {{ kernel_image }}\n",
        """    env:
    - name: KERNEL_POD_NAME
      valueFrom: {fieldRef: {fieldPath: metadata.name}}
    - name: KERNEL_POD_IP
      valueFrom: {fieldRef: {fieldPath: status.podIP}}
    - name: KERNEL_IMAGE
      value: {{ kernel_image }}
""",
    ),
)


@pytest.mark.parametrize("folder", KERNELSPECS, ids=lambda folder: folder.name)
def test_all_kernelspecs_have_one_template_and_those_of_spark_an_account_more(folder):
    expected = TEMPLATE.read_text()
    if folder.name.startswith("spark_"):
        for line, more in DRIVERS:
            assert line in expected
            expected = expected.replace(line, line + more)
    assert (folder / "scripts" / "kernel-pod.yaml.j2").read_text() == expected


@pytest.mark.parametrize("folder", KERNELSPECS, ids=lambda folder: folder.name)
def test_a_kernelspec_has_logos_a_name_for_people_an_image_and_a_way_to_be_interrupted(folder):
    spec = json.loads((folder / "kernel.json").read_text())
    assert {"logo-32x32.png", "logo-64x64.png", "logo-svg.svg"} <= {path.name for path in folder.iterdir()}
    assert spec["display_name"].endswith("on Kubernetes")
    assert spec["interrupt_mode"] in {"message", "signal"}
    assert spec["language"]
    assert all(image.image.startswith("elyra/kernel-") for image in kernelspec_images(spec))
