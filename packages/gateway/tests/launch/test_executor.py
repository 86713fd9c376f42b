"""The pods that a kernel starts itself: what the gateway hands over to make them from, and what it refuses."""

import base64
import json

import pytest

from enterprise_gateway.errors import LaunchFailed, PolicyViolation
from enterprise_gateway.launch.plan import LaunchSettings
from enterprise_gateway.launch.template import DEFAULT_TEMPLATE, Dialect, PodTemplate, find_executor_template

FOLDER = "/var/run/kernel-connection"


def template(spec, metadata="{}"):
    return PodTemplate(f"kind: Pod\nmetadata: {metadata}\nspec: {spec}", Dialect.JINJA, "executor-pod.yaml.j2")


@pytest.fixture
def plan_of(make_plan):
    def plan_of(executor=None, *, kernel=DEFAULT_TEMPLATE, **more):
        facts = {"starts_pods": True, **more.pop("facts_of_kernelspec", {})}
        return make_plan(template=kernel, executor_template=executor, facts_of_kernelspec=facts, **more)

    return plan_of


def handed_over(plan):
    return json.loads(base64.b64decode(plan.secret["data"]["executor-pod.json"]))


def test_a_driver_finds_the_template_beside_its_connection_file_and_nothing_else_of_the_secret(plan_of):
    plan = plan_of(template("{priorityClassName: '{{ kernel_username }}'}"))
    assert handed_over(plan)["spec"]["priorityClassName"] == "alice"
    volume = plan.pod["spec"]["volumes"][-1]["secret"]
    assert [item["key"] for item in volume["items"]] == ["connection.json", "executor-pod.json"]
    env = plan.pod["spec"]["containers"][0]["env"]
    assert {"name": "KERNEL_EXECUTOR_TEMPLATE", "value": f"{FOLDER}/executor-pod.json"} in env


def test_a_kernel_that_starts_no_pods_has_no_such_template(make_plan):
    plan = make_plan(executor_template=template("{}"))
    assert "executor-pod.json" not in plan.secret["data"]
    assert "KERNEL_EXECUTOR_TEMPLATE" not in {entry["name"] for entry in plan.pod["spec"]["containers"][0]["env"]}


def test_executors_pull_with_the_kernels_credentials_go_to_its_nodes_and_are_of_its_installation(plan_of):
    settings = LaunchSettings(instance="blue", image_pull_secrets=("registry",))
    made = handed_over(plan_of(settings=settings, facts_of_kernelspec={"node_selector": {"pool": "spark"}}))
    assert made["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    assert made["spec"]["nodeSelector"] == {"pool": "spark"}
    assert made["metadata"]["labels"]["app.kubernetes.io/instance"] == "blue"
    # These are what make a kernel; the launcher says them of executors itself.
    assert not {"app", "component", "kernel_id"} & made["metadata"]["labels"].keys()
    assert made["metadata"]["labels"]["app.kubernetes.io/component"] == "worker"


def test_no_template_gives_executors_a_token(plan_of):
    assert handed_over(plan_of(template("{automountServiceAccountToken: true}")))["spec"]["automountServiceAccountToken"] is False


def test_the_kernels_volumes_can_be_its_executors_too(plan_of):
    source = "{containers: [{name: e, volumeMounts: {{ kernel_volume_mounts }}}], volumes: {{ kernel_volumes }}}"
    asked = {"KERNEL_VOLUMES": "[{name: a, emptyDir: {}}]", "KERNEL_VOLUME_MOUNTS": "[{name: a, mountPath: /a}]"}
    spec = handed_over(plan_of(template(source), **asked))["spec"]
    assert spec["volumes"] == [{"name": "a", "emptyDir": {}}]
    assert spec["containers"][0]["volumeMounts"] == [{"name": "a", "mountPath": "/a"}]


CONTAINER = "{{containers: [{{name: e, securityContext: {}}}]}}"
BEYOND = [
    ("{hostNetwork: true}", "hostNetwork"),
    ("{hostPID: 'true'}", "hostPID"),
    ("{hostIPC: true}", "hostIPC"),
    ("{volumes: [{name: a, hostPath: {path: /etc}}]}", r"the node's /etc \(hostPath\)"),
    ("{serviceAccountName: robot}", "another service account"),
    ("{serviceAccount: robot}", "another service account"),
    ("{securityContext: {runAsUser: 0}}", "root"),
    ("{securityContext: {runAsNonRoot: false}}", "root"),
    (CONTAINER.format("{runAsUser: '00'}"), "root"),
    (CONTAINER.format("{privileged: true}"), "a privileged container"),
    ("{initContainers: [{name: i, securityContext: {privileged: true}}]}", "a privileged container"),
    (CONTAINER.format("{capabilities: {add: [SYS_ADMIN]}}"), "the capabilities SYS_ADMIN"),
    (CONTAINER.format("{allowPrivilegeEscalation: true}"), "allowPrivilegeEscalation"),
]


@pytest.mark.parametrize(("spec", "words"), BEYOND)
def test_what_reaches_out_of_an_executors_pod_is_refused(plan_of, spec, words):
    with pytest.raises(PolicyViolation, match=f"executor template asks for {words}, which the kernel's own pod hasn't"):
        plan_of(template(spec))


def test_another_namespace_is_refused(plan_of):
    with pytest.raises(PolicyViolation, match="another namespace"):
        plan_of(template("{}", "{namespace: kube-system}"))


@pytest.mark.parametrize(("spec", "words"), [pair for pair in BEYOND if "account" not in pair[1]])
def test_executors_may_have_what_the_kernels_own_pod_has(plan_of, spec, words):
    containers = "" if "containers" in spec.replace("initContainers", "") else "containers: [{name: k}], "
    kernel = PodTemplate(f"kind: Pod\nspec: {{{containers}{spec[1:]}", Dialect.JINJA)
    assert handed_over(plan_of(template(spec), kernel=kernel))["spec"], words


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("kind: Pod\n---\nkind: Pod", "must make one document"),
        ("kind: ConfigMap", "must make one document"),
        ("kind: Pod\nspec: [a]", "spec isn't a mapping"),
        ("kind: Pod\nspec: {containers: x}", "isn't a list of containers"),
        ("kind: Pod\nspec: {a: $kernel_uid}", r"executor-pod\.yaml\.j2 can't be used"),
    ],
)
def test_a_template_that_makes_no_pod_is_refused(plan_of, source, words):
    with pytest.raises(LaunchFailed, match=words):
        plan_of(PodTemplate(source, Dialect.JINJA, "executor-pod.yaml.j2"))


def test_a_kernelspecs_own_template_lies_beside_that_of_its_pod(tmp_path):
    assert find_executor_template(tmp_path) is None
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "executor-pod.yaml.j2").write_text("kind: Pod")
    assert find_executor_template(tmp_path).source == "kind: Pod"
    (tmp_path / "scripts" / "executor-pod.yaml.j2").write_bytes(b"\xff")
    with pytest.raises(LaunchFailed, match=r"executor-pod\.yaml\.j2 can't be read"):
        find_executor_template(tmp_path)
