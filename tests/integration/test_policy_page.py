"""docs/policy.md: its example is a policy, and its table has the fields and defaults of the code."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from enterprise_gateway.errors import PolicyViolation
from enterprise_gateway.launch.policy import Policy, check_request, read_policy
from enterprise_gateway.launch.request import KernelFacts, recorded_request

PAGE = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
FACTS = KernelFacts(kernel_id="k", kernel_name="k", username="ada", language="python", default_image="elyra/kernel-py:dev")


@pytest.fixture
def example() -> Policy:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    return read_policy(text)


def check(policy, **environment):
    request = recorded_request(kernel=FACTS, environment=environment, judged=environment)
    check_request(request, policy, gateway_namespace="jupyter", gateway_service_account="enterprise-gateway-sa")


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"KERNEL_IMAGE": "registry.example.com/notebooks/torch:2"},
        {"KERNEL_NAMESPACE": "team-blue", "KERNEL_SERVICE_ACCOUNT_NAME": "spark-driver"},
        {"KERNEL_VOLUMES": '[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]'},
        {"KERNEL_CPUS": "8", "KERNEL_MEMORY": "32Gi"},
    ],
)
def test_the_example_allows_what_it_says(example, asked):
    check(example, **asked)


@pytest.mark.parametrize(
    "asked",
    [
        {"KERNEL_IMAGE": "registry.example.com/other/torch:2"},
        {"KERNEL_IMAGE": "evil.example.com/registry.example.com/notebooks/x"},
        {"KERNEL_NAMESPACE": "jupyter"},
        {"KERNEL_SERVICE_ACCOUNT_NAME": "enterprise-gateway-sa"},
        {"KERNEL_VOLUMES": '[{"name": "x", "hostPath": {"path": "/"}}]'},
        {"KERNEL_CPUS": "9"},
        {"KERNEL_MEMORY_LIMIT": "33Gi"},
    ],
)
def test_the_example_refuses_the_rest(example, asked):
    with pytest.raises(PolicyViolation):
        check(example, **asked)


def test_the_table_names_every_field_with_its_default():
    table = PAGE.split("## Fields")[1].split("##")[0]
    rows = {}
    for row in re.findall(r"^\| (`.*?) \| (.*?) \|", table, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", row[0]):
            rows[name] = row[1].strip("`").strip("[]")
    shown = {
        field.name: ", ".join(map(str, default)) if isinstance(default := getattr(Policy(), field.name), tuple) else default
        for field in msgspec.structs.fields(Policy)
    }
    assert rows == {
        name: "none" if name == "maxima" or default == "" else f"{default:g}" if isinstance(default, float) else str(default)
        for name, default in shown.items()
    }
