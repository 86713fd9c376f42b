import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enterprise_gateway.errors import GatewayError
from enterprise_gateway.launch.plan import LaunchSettings, build_plan
from enterprise_gateway.launch.policy import Policy
from enterprise_gateway.launch.pool import claim_of_pod, claim_of_secret, claimed_environment, pool_plan
from enterprise_gateway.launch.request import KernelFacts, compose_request
from enterprise_gateway.launch.template import DEFAULT_TEMPLATE, Dialect, PodTemplate
from enterprise_gateway.launch.variables import InvalidVariable, read_variables
from enterprise_gateway_common import labels

ALICE, BOB = "0b5c6f2e-8f0e-4f5d-9d0c-3a1f2b4c5d6e", "5d6e0b5c-0e8f-4f5d-9d0c-6f2e3a1f2b4c"
SHARED = LaunchSettings(shared_namespace="kernels")
PRINTS_USER = PodTemplate(
    "kind: Pod\nspec: {containers: [{name: kernel, image: a:1, env: [{name: HOME_OF, value: {{ kernel_username }}}]}]}",
    Dialect.JINJA,
)


def planned(
    user="alice", kernel_id=ALICE, *, template=DEFAULT_TEMPLATE, settings=SHARED, facts=None, policy=None, command=None, **env
):
    request = compose_request(
        kernel=KernelFacts(kernel_id=kernel_id, kernel_name="python_kubernetes", username=user, language="python"),
        client=read_variables(env),
        kernelspec={},
        inherited={},
        said={},
        in_pod=True,
    )
    return build_plan(
        request=request.in_pod(default_image="elyra/kernel-py:1.0", **(facts or {})),
        policy=policy or Policy(images=("*",), namespaces=("*",), service_accounts=("*",), volume_types=("emptyDir",)),
        settings=settings,
        template=template,
        command=command or ("launch-kernel", "--kernel-id", kernel_id),
        connection_file=json.dumps({"key": f"key of {kernel_id}"}),
        facts={},
        launch_id=kernel_id[:6],
        gateway_key="secret of gateways",
        pool_connection="encrypted",
    )


def test_starts_of_two_users_could_have_each_others_pods():
    assert planned("alice", ALICE).fingerprint == planned("bob", BOB, MY_OWN="value").fingerprint
    assert planned().pool_obstacle is None


@pytest.mark.parametrize(
    "other",
    [
        {"KERNEL_IMAGE": "elyra/kernel-py:2.0"},
        {"KERNEL_UID": "1234"},
        {"KERNEL_CPUS": "2"},
        {"KERNEL_MEMORY_LIMIT": "1Gi"},
        {"KERNEL_VOLUMES": '[{"name": "work", "emptyDir": {}}]'},
        {"KERNEL_SERVICE_ACCOUNT_NAME": "robot"},
        {"PYTHONPATH": "/work"},
        {"LC_ALL": "de_DE.UTF-8"},
        {"facts": {"node_selector": {"disk": "fast"}}},
        {"facts": {"image_pull_policy": "IfNotPresent"}},
        {"facts": {"proxy_ports": (8787,)}},
        {"settings": LaunchSettings(shared_namespace="elsewhere")},
        {"settings": LaunchSettings(shared_namespace="kernels", image_pull_secrets=("registry",))},
        {"command": ("launch-kernel", "--kernel-class-name", "mine.Kernel")},
        {"command": ("run", ALICE)},
    ],
    ids=str,
)
def test_a_start_that_asks_for_another_pod_has_another_fingerprint(other):
    assert planned(**other).fingerprint != planned().fingerprint


def test_a_template_that_prints_who_the_kernel_is_for_makes_pods_that_no_other_start_could_have():
    volume = "kind: Pod\nspec: {containers: [{name: kernel, image: a:1, workingDir: {{ kernel_username }}}]}"
    template = PodTemplate(volume, Dialect.JINJA)
    assert planned("alice", template=template).fingerprint != planned("bob", template=template).fingerprint


_NAMES = st.sampled_from(
    [
        "KERNEL_UID",
        "KERNEL_IMAGE",
        "KERNEL_CPUS",
        "KERNEL_X",
        "PATH",
        "LD_PRELOAD",
        "PYTHONHASHSEED",
        "MY_OWN",
        "TZ",
        "KERNEL_LANGUAGE",
    ]
)
_VALUES = st.sampled_from(["1", "2", "a$b", "$(HOME)", "a:1"])


@given(st.dictionaries(_NAMES, _VALUES, max_size=4), st.dictionaries(_NAMES, _VALUES, max_size=4))
def test_starts_with_one_fingerprint_differ_in_nothing_that_a_claim_cant_bring(one, other):
    first, second = _planned_or_none(**one), _planned_or_none("bob", BOB, **other)
    if first is None or second is None or first.fingerprint != second.fingerprint:
        return
    made = pool_plan(second, pool_id=BOB)
    # The pod that the first would get, once its claim has brought the rest, is the one that would have been made for it.
    assert _whole(made.pod, claimed_environment(first.pod)) == _whole(first.pod, {})


def _planned_or_none(user="alice", kernel_id=ALICE, **env):
    try:
        return planned(user, kernel_id, **env)
    except (GatewayError, InvalidVariable):
        return None


def _whole(pod, brought):
    """Return what a kernel finds in its pod, but for names."""
    spec = json.loads(json.dumps(pod["spec"]))
    kernel = spec["containers"][0]
    env = {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in kernel.pop("env")}
    kernel["env"] = {**env, **{name: value.replace("$", "$$") for name, value in brought.items()}}
    kernel["command"] = [part for part in kernel["command"] if part not in {ALICE, BOB}]
    for volume in spec.get("volumes", []):
        volume.get("secret", {}).pop("secretName", None)
    return spec


def test_a_pod_of_a_pool_holds_nothing_of_whom_it_was_planned_for():
    plan = planned("alice", ALICE, template=PRINTS_USER, MY_TOKEN="topsecret")
    text = json.dumps([pool_plan(plan, pool_id=BOB).pod, base64.b64decode(plan.secret["data"]["connection.json"]).decode()])
    assert "alice" not in text
    assert "topsecret" not in text
    made = pool_plan(plan, pool_id=BOB)
    assert "launch.json" not in made.secret["data"]
    assert labels.KERNEL_ID not in made.pod["metadata"]["labels"] | made.secret["metadata"]["labels"]
    assert made.pod["metadata"]["labels"][labels.COMPONENT] == labels.COMPONENT_POOL


def test_pods_of_a_pool_keep_no_node_from_being_removed():
    annotations = pool_plan(planned(), pool_id=BOB).pod["metadata"]["annotations"]
    assert not any("safe-to-evict" in name or "do-not-disrupt" in name for name in annotations)
    claim = claim_of_pod(planned(), uid="u", version="7", launch_id="l", at="now")
    assert "cluster-autoscaler.kubernetes.io/safe-to-evict" in claim["metadata"]["annotations"]


def test_a_claim_holds_only_for_the_pod_as_it_was_seen_and_makes_it_the_kernels():
    change = claim_of_pod(planned(), uid="u1", version="7", launch_id="made", at="2026-01-01T00:00:00Z")["metadata"]
    assert (change["uid"], change["resourceVersion"]) == ("u1", "7")
    assert change["labels"][labels.COMPONENT] == labels.COMPONENT_KERNEL
    assert change["labels"][labels.KERNEL_ID] == ALICE
    assert change["labels"][labels.KERNEL_LAUNCH] == "made"
    assert change["annotations"][labels.USERNAME_ANNOTATION] == "alice"


def test_the_claim_of_a_secret_brings_the_record_and_no_key():
    change = claim_of_secret(planned(KERNEL_X="mine"), launch_id="made")
    assert list(change["data"]) == ["launch.json"]
    assert json.loads(base64.b64decode(change["data"]["launch.json"]))["environment"]["KERNEL_X"] == "mine"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"settings": LaunchSettings()}, "namespace of its own"),
        (
            {"facts": {"starts_pods": True}, "settings": LaunchSettings(shared_namespace="kernels", spark_namespace="spark")},
            "starts pods of its own",
        ),
        ({"KERNEL_POD_NAME": "mine"}, "KERNEL_POD_NAME"),
        ({"KERNEL_IMAGE": "elyra/kernel-py:latest"}, "pulled anew"),
        ({"facts": {"image_pull_policy": "Always"}}, "pulled anew"),
        (
            {
                "template": PodTemplate(
                    "kind: Pod\nspec: {containers: [{name: a, image: 'b:1', env: [{name: A, value: $(B)}]}]}", Dialect.JINJA
                )
            },
            "refer to other variables",
        ),
        (
            {
                "template": PodTemplate(
                    "kind: Pod\nspec: {containers: [{name: a, image: 'b:1'}]}\n---\n"
                    "kind: ConfigMap\napiVersion: v1\nmetadata: {name: x}",
                    Dialect.JINJA,
                )
            },
            "other objects",
        ),
    ],
)
def test_a_start_that_can_have_no_other_pod_says_why(asked, words):
    assert words in planned(**asked).pool_obstacle
