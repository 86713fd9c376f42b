import base64
import json

import pytest

from enterprise_gateway.errors import LaunchFailed, NotSupported, PolicyViolation
from enterprise_gateway.launch.plan import LaunchSettings
from enterprise_gateway.launch.policy import Policy
from enterprise_gateway.launch.template import Dialect, PodTemplate

KERNEL_ID = "0b5c6f2e-8f0e-4f5d-9d0c-3a1f2b4c5d6e"


def objects(plan):
    return [item for item in (plan.namespace_document, plan.role_binding, plan.secret, *plan.documents, plan.pod) if item]


def test_every_object_is_found_by_the_kernels_id_and_tells_its_installation(make_plan):
    plan = make_plan(settings=LaunchSettings(instance="blue"), facts_of_kernelspec={"starts_pods": True})
    assert len(objects(plan)) == 4
    for item in objects(plan):
        labels = item["metadata"]["labels"]
        assert labels["kernel_id"] == KERNEL_ID
        assert (labels["app"], labels["component"]) == ("enterprise-gateway", "kernel")
        assert labels["app.kubernetes.io/instance"] == "blue"


def test_a_kernel_gets_a_namespace_of_its_own_named_as_its_pod(make_plan):
    plan = make_plan()
    assert plan.namespace == f"alice-{KERNEL_ID}" == plan.pod["metadata"]["name"]


@pytest.mark.parametrize(
    ("settings", "asked", "expected"),
    [
        (LaunchSettings(shared_namespace="kernels"), {}, "kernels"),
        (LaunchSettings(), {"KERNEL_NAMESPACE": "team"}, "team"),
    ],
)
def test_a_namespace_that_exists_is_used_as_it_is(make_plan, settings, asked, expected):
    plan = make_plan(settings=settings, policy=Policy(namespaces=("team",)), **asked)
    assert plan.namespace == expected
    assert plan.namespace_document is None
    assert plan.role_binding is None


def test_a_service_account_that_a_new_namespace_cant_have_is_refused(make_plan):
    with pytest.raises(LaunchFailed, match="KERNEL_NAMESPACE"):
        make_plan(policy=Policy(service_accounts=("robot",)), KERNEL_SERVICE_ACCOUNT_NAME="robot")


def test_kernels_cant_be_given_cluster_admin():
    with pytest.raises(ValueError, match="cluster-admin"):
        LaunchSettings(kernel_cluster_role="cluster-admin")


def test_the_gateways_own_service_account_is_refused_though_the_template_names_it(make_plan):
    template = PodTemplate("kind: Pod\nspec: {serviceAccountName: gateway-sa, containers: [{name: a, image: b}]}", Dialect.JINJA)
    settings = LaunchSettings(gateway_namespace="gateway", gateway_service_account="gateway-sa", shared_namespace="gateway")
    with pytest.raises(PolicyViolation, match="own service account"):
        make_plan(template=template, settings=settings)


def test_the_built_in_pod_is_admitted_under_the_restricted_standard(make_plan):
    spec = make_plan().pod["spec"]
    security = spec["containers"][0]["securityContext"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert spec["automountServiceAccountToken"] is False
    assert spec["restartPolicy"] == "Never"


def test_a_value_reaches_the_kernels_environment_byte_for_byte(make_plan):
    plan = make_plan(KERNEL_FOO="$(PATH) $$ {{ x }}")
    values = {entry["name"]: entry["value"] for entry in plan.pod["spec"]["containers"][0]["env"]}
    assert values["KERNEL_FOO"] == "$$(PATH) $$$$ {{ x }}"


def test_the_requests_environment_wins_over_the_templates(make_plan):
    template = PodTemplate(
        "kind: Pod\nspec: {containers: [{name: a, image: b, env: [{name: KERNEL_FOO, value: x}, {name: Y, value: $(Z)}]}]}",
        Dialect.JINJA,
    )
    env = make_plan(template=template, KERNEL_FOO="mine").pod["spec"]["containers"][0]["env"]
    assert [entry["value"] for entry in env if entry["name"] == "KERNEL_FOO"] == ["mine"]
    assert {"name": "Y", "value": "$(Z)"} in env


def test_a_gpu_request_gets_the_limit_that_kubernetes_demands(make_plan):
    resources = make_plan(KERNEL_GPUS="1").pod["spec"]["containers"][0]["resources"]
    assert resources == {"requests": {"nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}}


def test_a_kernelspecs_nodes_and_pull_policy_hold_where_its_template_says_nothing(make_plan):
    own = {"node_selector": {"pool": "gpu", "zone": "a"}, "image_pull_policy": "Always"}
    spec = make_plan(facts_of_kernelspec=own).pod["spec"]
    assert spec["nodeSelector"] == {"pool": "gpu", "zone": "a"}
    assert spec["containers"][0]["imagePullPolicy"] == "Always"
    source = "kind: Pod\nspec: {nodeSelector: {pool: cpu}, containers: [{name: a, image: b, imagePullPolicy: Never}]}"
    spec = make_plan(facts_of_kernelspec=own, template=PodTemplate(source, Dialect.JINJA)).pod["spec"]
    assert spec["nodeSelector"] == {"pool": "cpu", "zone": "a"}
    assert spec["containers"][0]["imagePullPolicy"] == "Never"


def test_the_pod_sees_its_connection_file_and_nothing_else_of_the_secret(make_plan):
    plan = make_plan(KERNEL_TOKEN="mine")
    volume = plan.pod["spec"]["volumes"][-1]["secret"]
    assert volume["secretName"] == plan.secret["metadata"]["name"]
    assert [item["key"] for item in volume["items"]] == ["connection.json"]
    record = json.loads(base64.b64decode(plan.secret["data"]["launch.json"]))
    assert record["environment"]["KERNEL_TOKEN"] == "mine"


def test_nothing_secret_stands_in_the_pod_itself(make_plan):
    assert "topsecret" not in json.dumps(make_plan().pod)


def test_the_command_of_the_kernelspec_is_run_unless_the_template_has_one(make_plan):
    assert make_plan(command=("launch-kernel", "$X")).pod["spec"]["containers"][0]["command"] == ["launch-kernel", "$$X"]
    template = PodTemplate("kind: Pod\nspec: {containers: [{name: a, command: [own]}]}", Dialect.JINJA)
    assert make_plan(template=template).pod["spec"]["containers"][0]["command"] == ["own"]


def test_a_script_that_submits_to_spark_is_refused_unless_the_template_has_a_command(make_plan):
    script = ("/usr/local/share/jupyter/kernels/spark/bin/run.sh",)
    with pytest.raises(NotSupported, match=r"bin/run\.sh"):
        make_plan(command=script)
    template = PodTemplate("kind: Pod\nspec: {containers: [{name: a, command: [own]}]}", Dialect.JINJA)
    assert make_plan(template=template, command=script).pod["spec"]["containers"][0]["command"] == ["own"]


@pytest.mark.parametrize(
    "pattern",
    [
        "{{ kernel_username }}-{{ kernel_id }}",
        "nb-{{kernel_username}}",
        "${kernel_username}",
        "{{ 7*7 }}",
        "{{ no }}",
        "X" * 300,
        "用户",
    ],
)
def test_every_name_pattern_gives_a_valid_name_that_ends_with_the_kernels_id(make_plan, pattern):
    name = make_plan(KERNEL_POD_NAME=pattern).pod["metadata"]["name"]
    assert len(name) <= 63
    assert name.endswith(KERNEL_ID)
    assert name == name.lower().strip("-")


def test_a_pattern_is_filled_without_a_template_engine(make_plan):
    assert make_plan(KERNEL_POD_NAME="nb {{ kernel_username }}").pod["metadata"]["name"] == f"nb-alice-{KERNEL_ID}"


def test_other_documents_are_put_beside_the_pod(make_plan):
    template = PodTemplate(
        "kind: Pod\nspec: {containers: [{name: a}]}\n---\n"
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ kernel_pod_name }}', namespace: kube-system}\n"
        "data: {a: '{{ kernel_id }}'}",
        Dialect.JINJA,
    )
    plan = make_plan(template=template)
    (document,) = plan.documents
    assert document["metadata"]["namespace"] == plan.namespace
    assert document["metadata"]["labels"]["kernel_id"] == KERNEL_ID


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: x}", "isn't one of"),
        ("apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: x}", "isn't one of"),
        ("apiVersion: other/v1\nkind: Secret\nmetadata: {name: x}", "isn't one of"),
        ("apiVersion: v1\nkind: Secret", "without a name"),
        ("kind: Pod\nspec: {containers: [{name: b}]}", "2 pods"),
    ],
)
def test_documents_that_a_template_may_not_make_are_refused(make_plan, other, words):
    template = PodTemplate(f"kind: Pod\nspec: {{containers: [{{name: a}}]}}\n---\n{other}", Dialect.JINJA)
    with pytest.raises(LaunchFailed, match=words):
        make_plan(template=template)


SPECS = ["{}", "[]", "{containers: []}", "{containers: [x]}"]


@pytest.mark.parametrize("source", [f"kind: Pod\nspec: {spec}" for spec in SPECS])
def test_a_template_without_the_shape_of_a_pod_is_refused(make_plan, source):
    with pytest.raises(LaunchFailed):
        make_plan(template=PodTemplate(source, Dialect.JINJA))


def test_an_environment_that_kubernetes_cant_keep_is_refused_before_anything_exists(make_plan):
    with pytest.raises(LaunchFailed, match="1 MiB"):
        make_plan(KERNEL_FOO="x" * 1_100_000)


def test_autoscalers_leave_a_kernels_node_alone_unless_its_template_says_otherwise(make_plan):
    keeps = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
    assert keeps.items() <= make_plan().pod["metadata"]["annotations"].items()

    text = 'metadata: {annotations: {karpenter.sh/do-not-disrupt: "false"}}\nkind: Pod\nspec: {containers: [{name: a, image: b}]}'
    plan = make_plan(template=PodTemplate(text, Dialect.JINJA))
    assert (keeps | {"karpenter.sh/do-not-disrupt": "false"}).items() <= plan.pod["metadata"]["annotations"].items()
    # Only a pod is evicted.
    assert not keeps.keys() & plan.secret["metadata"]["annotations"].keys()


CROWDED = PodTemplate(
    "kind: Pod\nmetadata: {annotations: {kubectl.kubernetes.io/default-container: aide}}\nspec:\n"
    "  initContainers: [{name: fetch, image: a}, {name: proxy, image: b, terminationMessagePolicy: File}]\n"
    "  containers: [{name: '{{ kernel_pod_name }}', image: c, restartPolicy: Always}, {name: aide, image: d}]",
    Dialect.JINJA,
)


def test_the_name_of_the_kernels_container_is_written_on_its_pod(make_plan):
    plan = make_plan(template=CROWDED)
    annotations = plan.pod["metadata"]["annotations"]
    assert annotations["enterprise-gateway.jupyter.org/kernel-container"] == plan.names.pod
    assert annotations["kubectl.kubernetes.io/default-container"] == "aide"
    assert make_plan().pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"] == "kernel"


def test_every_container_of_a_template_explains_its_crash(make_plan):
    spec = make_plan(template=CROWDED).pod["spec"]
    policies = {each["name"]: each["terminationMessagePolicy"] for each in (*spec["initContainers"], *spec["containers"][1:])}
    assert policies == {"fetch": "FallbackToLogsOnError", "proxy": "File", "aide": "FallbackToLogsOnError"}


def test_a_kernel_that_ended_is_started_again_by_nobody_but_the_gateway(make_plan):
    assert "restartPolicy" not in make_plan(template=CROWDED).pod["spec"]["containers"][0]


@pytest.mark.parametrize("key", ["containers", "initContainers"])
def test_containers_that_are_no_list_are_refused(make_plan, key):
    lists = {"containers": "[{name: a, image: b}]", key: "{name: a}"}
    written = ", ".join(f"{name}: {text}" for name, text in lists.items())
    with pytest.raises(LaunchFailed, match=f"{key} isn't a list of containers"):
        make_plan(template=PodTemplate(f"kind: Pod\nspec: {{{written}}}", Dialect.JINJA))
