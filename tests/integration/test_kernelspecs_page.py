"""docs/kernelspecs.md: its templates make pods, its kernel.json is read, and its table has every variable."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from enterprise_gateway.launch.plan import LaunchSettings, build_plan
from enterprise_gateway.launch.policy import Policy
from enterprise_gateway.launch.request import KernelFacts, compose_request, recorded_request
from enterprise_gateway.launch.template import DEFAULT_TEMPLATE, Dialect, PodTemplate
from enterprise_gateway.launch.variables import KernelVariables
from enterprise_gateway_common.kernelspec_metadata import kernelspec_images, provisioner_stanza

PAGE = (Path(__file__).parents[2] / "docs" / "kernelspecs.md").read_text()
IMAGE = "elyra/kernel-py:dev"
FACTS = KernelFacts(
    kernel_id="01234567-89ab-4cde-8f01-23456789abcd",
    kernel_name="python_kubernetes",
    username="Ada: {x}",
    language="python",
    default_image=IMAGE,
)
VOLUMES = {
    "KERNEL_VOLUMES": '[{"name": "scratch", "emptyDir": {}}]',
    "KERNEL_VOLUME_MOUNTS": '[{"name": "scratch", "mountPath": "/scratch"}]',
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


SMALL, GPU, CLAIM, SHARED = (PodTemplate(text, Dialect.JINJA) for text in blocks("jinja"))
(OLDER,) = (PodTemplate(text, Dialect.DOLLAR) for text in blocks("yaml"))


def plan(template: PodTemplate, **environment: str):
    return build_plan(
        request=recorded_request(kernel=FACTS, environment=environment, judged=environment),
        policy=Policy(),
        settings=LaunchSettings(shared_namespace="notebooks", default_service_account="default"),
        template=template,
        command=["launch-kernel"],
        connection_file="{}",
        facts={},
        launch_id="abc",
    )


@pytest.mark.parametrize("template", [SMALL, GPU, CLAIM, SHARED, OLDER], ids=["small", "gpu", "claim", "shared", "older"])
def test_every_template_makes_a_pod_with_the_kernels_image(template):
    pod = plan(template).pod
    assert pod["kind"] == "Pod"
    assert pod["spec"]["containers"][0]["image"] == IMAGE


def test_the_small_template_puts_values_where_it_prints_them():
    pod = plan(SMALL, KERNEL_TEAM="blue: {red}", KERNEL_UID="1234", **VOLUMES).pod
    assert pod["metadata"]["labels"]["team"] == "blue: {red}"
    assert pod["spec"]["securityContext"]["runAsUser"] == 1234
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"memory": "2Gi"}
    assert {"name": "scratch", "mountPath": "/scratch"} in pod["spec"]["containers"][0]["volumeMounts"]
    assert {"name": "scratch", "emptyDir": {}} in pod["spec"]["volumes"]


def test_the_template_for_images_whose_command_is_the_kernel_shares_processes():
    assert plan(SHARED).pod["spec"]["shareProcessNamespace"] is True


def test_the_small_template_works_without_what_is_optional():
    pod = plan(SMALL).pod
    assert pod["metadata"]["labels"]["team"] == "none"
    assert [volume["name"] for volume in pod["spec"]["volumes"]] == ["shared-memory", "kernel-connection"]


def test_the_gpu_template_gets_the_request_that_kubernetes_wants():
    resources = plan(GPU, KERNEL_GPUS="2").pod["spec"]["containers"][0]["resources"]
    assert resources["requests"] == resources["limits"] == {"nvidia.com/gpu": "2"}


def test_the_claim_template_makes_a_file_of_the_users_name():
    made = plan(CLAIM)
    (configmap,) = made.documents
    assert configmap["data"]["motd"] == "Hello Ada: {x}, this is python_kubernetes."
    assert configmap["metadata"]["namespace"] == "notebooks"
    assert made.pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == "home-ada: {x}"


def test_the_older_template_has_numbers_and_texts_in_their_places():
    pod = plan(OLDER, KERNEL_GID="500").pod
    assert pod["spec"]["securityContext"]["runAsGroup"] == 500
    assert pod["spec"]["containers"][0]["name"] == plan(OLDER).names.pod


def test_the_example_of_a_kernel_json_is_one():
    spec = json.loads(blocks("json")[0])
    assert provisioner_stanza(spec["metadata"]).name == "kubernetes"
    (image,) = kernelspec_images(spec)
    assert (image.image, image.pull_policy, dict(image.node_selector)) == (
        IMAGE,
        "IfNotPresent",
        {"kubernetes.io/arch": "amd64"},
    )


def test_the_example_of_a_kernelspecs_variables_is_what_it_says_and_the_policy_does_not_judge_it():
    made = build_plan(
        request=compose_request(
            kernel=dataclasses.replace(FACTS, username="ada"),
            client=KernelVariables(),
            kernelspec=json.loads(blocks("json")[1]),
            inherited={},
            said={},
            in_pod=True,
        ),
        policy=Policy(),
        settings=LaunchSettings(),
        template=DEFAULT_TEMPLATE,
        command=["launch-kernel"],
        connection_file="{}",
        facts={},
        launch_id="abc",
    )
    assert made.namespace == "notebooks-ada"
    assert made.pod["spec"]["volumes"][0] == {"name": "home", "nfs": {"server": "nfs", "path": "/home/ada"}}
    assert made.pod["spec"]["containers"][0]["volumeMounts"][0] == {"name": "home", "mountPath": "/home/jovyan"}
    assert made.pod["spec"]["containers"][0]["resources"]["limits"] == {"memory": "8Gi"}


def test_the_table_names_every_variable():
    rows = re.findall(r"^\| (`kernel_.*?) \|", PAGE.split("### Variables")[1], re.MULTILINE)
    named = set(re.findall(r"`(kernel_\w+)`", " ".join(rows))) | {f"kernel_{name}_limit" for name in ("cpus", "memory", "gpus")}
    environment = {
        "KERNEL_WORKING_DIR": "/x",
        **VOLUMES,
        **dict.fromkeys(("KERNEL_CPUS", "KERNEL_CPUS_LIMIT"), "1"),
        **dict.fromkeys(("KERNEL_MEMORY", "KERNEL_MEMORY_LIMIT"), "1Gi"),
        **dict.fromkeys(("KERNEL_GPUS", "KERNEL_GPUS_LIMIT"), "1"),
    }
    request = recorded_request(kernel=FACTS, environment=environment, judged=environment)
    decided = {"kernel_pod_name", "kernel_namespace", "kernel_service_account_name"}
    assert named == set(request.template_variables()) | decided
