"""What holds for every object of the chart, whatever the values."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from enterprise_gateway.launch.policy import Policy, read_policy
from enterprise_gateway.metrics import GatewayMetrics
from enterprise_gateway.settings import GatewaySettings
from enterprise_gateway_common.environment import declarations
from enterprise_gateway_common.names import unique_slug
from kernel_image_puller.reporting.metrics import PullerMetrics
from kernel_image_puller.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.charts import Rendering

_CLUSTER_WIDE = {"ClusterRole", "ClusterRoleBinding", "PriorityClass"}
# A pod that only tests is behind no Service, so it is no gateway.
_COMPONENTS = {"enterprise-gateway", "kernel-image-puller", "kernel", "test"}


def _names(rendering: Rendering) -> set[tuple[str, str, str]]:
    return {(each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]) for each in rendering.objects}


def test_the_gateway_tolerates_the_taint_that_waits_for_images(render: Callable[..., Rendering]) -> None:
    own = {"key": "own", "operator": "Exists"}
    values = {"deployment": {"tolerations": [own]}, "kip": {"startupTaint": "not-ready"}}
    pod = render(values).one("Deployment")["spec"]["template"]["spec"]

    assert pod["tolerations"] == [own, {"key": "not-ready", "operator": "Exists"}]


def test_every_object_has_the_labels_by_which_it_is_found(rendering: Rendering) -> None:
    for each in rendering.objects:
        labels = each["metadata"]["labels"]
        assert labels["app"] == "enterprise-gateway"
        assert labels["component"] in _COMPONENTS
        assert {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "helm.sh/chart"} <= set(
            labels
        )


def test_an_object_names_its_namespace_unless_it_belongs_to_the_cluster(rendering: Rendering) -> None:
    for each in rendering.objects:
        assert ("namespace" in each["metadata"]) == (each["kind"] not in _CLUSTER_WIDE), each["metadata"]["name"]


def test_selectors_find_their_own_pods(rendering: Rendering) -> None:
    for kind in ("Deployment", "DaemonSet"):
        for each in rendering.of(kind):
            wanted = each["spec"]["selector"]["matchLabels"]
            assert wanted.items() <= each["spec"]["template"]["metadata"]["labels"].items()
    for service in rendering.of("Service"):
        labels = rendering.one("Deployment")["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()
        for job in rendering.of("Job"):
            assert not service["spec"]["selector"].items() <= job["spec"]["template"]["metadata"]["labels"].items()


def test_the_default_installation_has_the_names_of_the_guides(render: Callable[..., Rendering]) -> None:
    names = {(kind, name) for kind, _, name in _names(render())}

    assert names >= {
        ("Deployment", "enterprise-gateway"),
        ("Service", "enterprise-gateway"),
        ("DaemonSet", "kernel-image-puller"),
        ("ServiceAccount", "enterprise-gateway-sa"),
        ("ServiceAccount", "kernel-image-puller-sa"),
        ("ClusterRole", "enterprise-gateway-controller"),
        ("ClusterRole", "kernel-controller"),
        ("ClusterRoleBinding", "enterprise-gateway-controller"),
    }


@pytest.mark.parametrize(
    ("release", "namespace", "values"),
    [
        pytest.param("second", "enterprise-gateway", {}, id="in the same namespace"),
        pytest.param("enterprise-gateway", "other", {}, id="of the same name in another namespace"),
        pytest.param("second", "other", {}, id="of another name in another namespace"),
        pytest.param("second", "enterprise-gateway", {"fullnameOverride": "third"}, id="by fullnameOverride"),
    ],
)
def test_two_releases_share_no_object_and_no_instance(
    render: Callable[..., Rendering], release: str, namespace: str, values: dict[str, Any]
) -> None:
    everything = {"priorityClasses": {"enabled": True}, "deployment": {"replicas": 2}, "ingress": {"enabled": True}}
    first = render(everything)
    second = render({**everything, **values}, release=release, namespace=namespace)

    assert not _names(first) & _names(second)
    assert _instance(first) != _instance(second)


def _instance(rendering: Rendering) -> str:
    (instance,) = {each["metadata"]["labels"]["app.kubernetes.io/instance"] for each in rendering.objects}
    return str(instance)


@pytest.mark.parametrize("release", ["enterprise-gateway", "second", "a--b", "x" * 53])
def test_the_lease_is_the_one_that_the_gateway_takes(render: Callable[..., Rendering], release: str) -> None:
    rendering = render(release=release)

    assert rendering.one("Lease")["metadata"]["name"] == unique_slug(_instance(rendering))


def test_names_and_labels_of_a_long_release_are_valid(render: Callable[..., Rendering]) -> None:
    rendering = render({"priorityClasses": {"enabled": True}}, release="r" * 53, namespace="n" * 63)

    assert len(_instance(rendering)) <= 63
    assert len(rendering.one("Service")["metadata"]["name"]) <= 63
    assert len(rendering.one("DaemonSet")["metadata"]["name"]) <= 63
    assert not _names(rendering) & _names(render({}, release="r" * 52 + "x", namespace="n" * 63))


# ------------------------------------------------------------------------------------------------------------- security


def test_every_pod_is_restricted_but_for_the_pullers_socket(case: str, rendering: Rendering) -> None:
    for name, spec in rendering.pod_specs():
        allowed = {"configMap", "emptyDir", "projected", "secret", "persistentVolumeClaim", "downwardAPI"}
        by_socket = case == "everything" and name.startswith("DaemonSet")
        kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
        assert kinds <= allowed | ({"hostPath"} if by_socket else set()), name
        assert spec["securityContext"]["runAsNonRoot"] is not by_socket
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in (*spec["containers"], *spec.get("initContainers", ())):
            if container["name"] in {"beside", "before"}:
                continue
            context = container["securityContext"]
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["readOnlyRootFilesystem"] is True, name


def test_only_the_container_that_needs_it_has_the_service_accounts_token(rendering: Rendering) -> None:
    for _, spec in rendering.pod_specs():
        assert spec["automountServiceAccountToken"] is False
        for container in (*spec["containers"], *spec.get("initContainers", ())):
            has = any(mount["name"] == "service-account" for mount in container.get("volumeMounts", ()))
            assert not (has and container["name"] in {"beside", "before", "kernelspecs"})


def test_no_role_has_a_wildcard_or_may_escalate(rendering: Rendering) -> None:
    for kind in ("Role", "ClusterRole"):
        for role in rendering.of(kind):
            for rule in role["rules"]:
                assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
                assert not {"escalate", "impersonate"} & set(rule["verbs"])
                assert "bind" not in rule["verbs"] or rule.get("resourceNames")


def test_with_a_shared_namespace_nothing_of_the_cluster_is_granted_but_to_look_at_nodes(render: Callable[..., Rendering]) -> None:
    rendering = render({"kernel": {"shareGatewayNamespace": True}})

    (role,) = rendering.of("ClusterRole")
    assert role["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]
    assert not list(render({"kernel": {"shareGatewayNamespace": True}, "kip": {"enabled": False}}).of("ClusterRole"))


def test_with_fixed_namespaces_the_gateway_has_a_role_in_each_and_in_no_other(render: Callable[..., Rendering]) -> None:
    rendering = render({"kernel": {"namespaces": ["a", "b"], "fixedNamespaces": True}, "kip": {"enabled": False}})

    assert not list(rendering.of("ClusterRole"))
    homes = [
        role["metadata"]["namespace"]
        for role in rendering.of("Role")
        for rule in role["rules"]
        if "create" in rule["verbs"] and "pods" in rule["resources"]
    ]
    assert homes == ["a", "b"]
    (binding,) = [
        each
        for each in rendering.of("RoleBinding")
        if each["metadata"]["namespace"] == "b" and "end" not in each["metadata"]["name"]
    ]
    assert binding["subjects"][0]["namespace"] == "enterprise-gateway"
    env = {
        each["name"]: each.get("value")
        for each in rendering.one("Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert env["EG_KERNEL_NAMESPACES"] == "a,b"


@pytest.mark.parametrize("kernel", [{}, {"shareGatewayNamespace": True}])
def test_the_account_of_spark_kernels_may_in_their_namespace_what_kernels_that_start_pods_need(
    render: Callable[..., Rendering], kernel: dict[str, Any]
) -> None:
    rendering = render({"kernel": {**kernel, "sparkNamespace": "spark", "defaultServiceAccountName": "driver"}})
    (bound,) = (each for each in rendering.of("RoleBinding") if each["metadata"]["name"] == "enterprise-gateway-spark")
    (role,) = (each for each in rendering.of("Role") if each["metadata"]["name"] == "enterprise-gateway-spark")

    (wide,) = (each for each in render().of("ClusterRole") if each["metadata"]["name"] == "kernel-controller")
    assert role["rules"] == wide["rules"]
    assert role["metadata"]["namespace"] == bound["metadata"]["namespace"] == "spark"
    assert bound["roleRef"]["kind"] == "Role"
    assert bound["subjects"] == [{"kind": "ServiceAccount", "name": "driver", "namespace": "spark"}]
    env = rendering.one("Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "EG_SPARK_NAMESPACE", "value": "spark"} in env


def test_another_role_of_kernels_is_bound_in_the_namespace_of_spark_and_none_where_there_is_none(
    render: Callable[..., Rendering],
) -> None:
    bound = render({"kernel": {"sparkNamespace": "spark", "clusterRole": "own"}}).of("RoleBinding")
    assert [each["roleRef"]["name"] for each in bound if each["metadata"]["namespace"] == "spark"] == ["own"]
    bound = render({"kernel": {"sparkNamespace": "spark", "clusterRole": ""}}).of("RoleBinding")
    assert not [each for each in bound if each["metadata"]["namespace"] == "spark"]


def test_a_gateway_without_rights_in_the_cluster_has_them_in_the_namespace_of_spark(render: Callable[..., Rendering]) -> None:
    rendering = render({"kernel": {"shareGatewayNamespace": True, "sparkNamespace": "spark"}, "kip": {"enabled": False}})

    assert not list(rendering.of("ClusterRole"))
    bound = {(each["metadata"]["namespace"], each["metadata"]["name"]) for each in rendering.of("RoleBinding")}
    assert {("enterprise-gateway", "enterprise-gateway-controller"), ("spark", "enterprise-gateway-controller")} <= bound


def test_drivers_and_executors_reach_each_other_and_the_api_server_in_the_namespace_of_spark_alone(
    render: Callable[..., Rendering],
) -> None:
    rendering = render({"kernel": {"namespaces": ["team"], "sparkNamespace": "spark"}})
    pods = {
        each["metadata"]["namespace"]: each["spec"]
        for each in rendering.of("NetworkPolicy")
        if each["metadata"]["name"] == "enterprise-gateway-kernels"
    }

    assert pods.keys() == {"team", "spark"}
    assert [len(pods[name]["ingress"][0]["from"]) for name in ("team", "spark")] == [1, 2]
    assert len(pods["spark"]["egress"]) == len(pods["team"]["egress"]) + 2


def test_without_rbac_no_account_and_no_role_is_made(render: Callable[..., Rendering]) -> None:
    kinds = {each["kind"] for each in render({"global": {"rbac": False}}).objects}

    assert not kinds & {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Job"}


def test_no_token_stands_outside_of_a_secret(render: Callable[..., Rendering]) -> None:
    rendering = render({"authToken": "a-token-to-be-found"})

    assert [each["kind"] for each in rendering.objects if "a-token-to-be-found" in str(each)] == []
    assert rendering.one("Secret")["data"]["token"] == "YS10b2tlbi10by1iZS1mb3VuZA=="


def test_a_token_is_drawn_where_none_is_given(render: Callable[..., Rendering]) -> None:
    # A label makes it another rendering, which isn't taken from memory.
    labels = ({}, {"draw": "again"})
    first, second = (render({"global": {"commonLabels": each}}).one("Secret")["data"]["token"] for each in labels)

    assert first != second


# ---------------------------------------------------------------------------------------- what the programs understand


def _environment(rendering: Rendering, kind: str) -> set[str]:
    (each,) = rendering.of(kind)
    return {variable["name"] for variable in each["spec"]["template"]["spec"]["containers"][0]["env"]}


def _known(settings: type) -> set[str]:
    return {name for declaration in declarations(settings) for name in declaration.environment}


def test_the_gateway_knows_every_setting_that_it_is_given(case: str, rendering: Rendering) -> None:
    if case != "puller":
        assert _environment(rendering, "Deployment") <= _known(GatewaySettings) | {"EG_LOG_LEVEL"}


def test_the_puller_knows_every_setting_that_it_is_given(rendering: Rendering) -> None:
    assert _environment(rendering, "DaemonSet") <= _known(Settings)


def test_the_gateway_accepts_the_policy(case: str, rendering: Rendering) -> None:
    if case == "puller":
        return
    (text,) = [each["data"]["policy.yaml"] for each in rendering.of("ConfigMap") if "policy.yaml" in each.get("data", {})]

    assert read_policy(text).namespaces == (("team-a",) if case == "everything" else ())


def test_every_rule_of_a_policy_can_be_given_as_a_value(render: Callable[..., Rendering]) -> None:
    policy = {
        "images": ["a/*"],
        "namespaces": ["b"],
        "spark_namespaces": ["d"],
        "service_accounts": ["c"],
        "volume_types": ["emptyDir"],
        "maximum_volumes": 3,
        "maxima": {"cpus": "1", "memory": "1Gi", "gpus": "1"},
        "prohibited_uids": [0],
        "prohibited_gids": [0],
        "maximum_launch_timeout": 60,
    }
    rendering = render({"policy": policy})

    assert set(policy) == set(Policy.__struct_fields__)
    assert read_policy(rendering.one("ConfigMap", "enterprise-gateway-policy")["data"]["policy.yaml"]) == read_policy(str(policy))


def test_alerts_and_dashboard_ask_for_metrics_that_exist(chart: Path, rendering: Rendering, case: str) -> None:
    if case != "everything":
        return
    exposed = GatewayMetrics(version="1").exposition().decode() + PullerMetrics().text().decode()
    # Counted at each scrape from what there is then.
    snapshot = (
        "enterprise_gateway_kernels",
        "kip_images",
        "kip_first_sync_complete",
        "kip_last_successful_sync_timestamp_seconds",
    )
    names = {line.split()[2] for line in exposed.splitlines() if line.startswith("# TYPE")} | set(snapshot)
    known = (
        names | {f"{name}_{part}" for name in names for part in ("count", "bucket", "sum")} | {f"{name}_total" for name in names}
    )
    asked = str(rendering.one("PrometheusRule")) + (chart / "files" / "dashboard.json").read_text()

    found = set(re.findall(r"\b(?:enterprise_gateway|kip)_[a-z_]+", asked))
    assert len(found) > 12
    assert found <= known


def test_probes_follow_the_base_path_and_tls(render: Callable[..., Rendering]) -> None:
    values = {"baseUrl": "/gateway/", "tls": {"secretName": "certificate"}}
    (container,) = render(values).one("Deployment")["spec"]["template"]["spec"]["containers"]

    assert container["readinessProbe"]["httpGet"] == {"path": "/gateway/readyz", "port": "http", "scheme": "HTTPS"}


@pytest.mark.parametrize(
    "tls", [{}, {"secretName": "certificate", "clientCertificates": True}], ids=["plain", "client certificates"]
)
def test_the_kubelet_asks_whether_a_gateway_lives_where_its_load_doesnt_matter(
    render: Callable[..., Rendering], tls: dict[str, object]
) -> None:
    values = {"baseUrl": "/gateway/", "tls": tls, "kip": {"enabled": False}, "deployment": {"healthPort": 9123}}
    (container,) = render(values).one("Deployment")["spec"]["template"]["spec"]["containers"]

    (port,) = [each["containerPort"] for each in container["ports"] if each["name"] == "health"]
    assert {"name": "EG_HEALTH_PORT", "value": str(port)} in container["env"]
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/gateway/livez", "port": "health"}


def test_a_setting_given_by_the_user_wins_also_when_it_is_empty(render: Callable[..., Rendering]) -> None:
    values = {"deployment": {"extraEnv": {"EG_KERNEL_CLUSTER_ROLE": "", "EG_LIST_KERNELS": False}}}
    (container,) = render(values).one("Deployment")["spec"]["template"]["spec"]["containers"]

    chosen = {each["name"]: each.get("value") for each in container["env"]}
    assert (chosen["EG_KERNEL_CLUSTER_ROLE"], chosen["EG_LIST_KERNELS"]) == ("", "false")
    assert len(chosen) == len(container["env"])


def test_the_dashboards_of_two_releases_have_names_of_their_own(render: Callable[..., Rendering]) -> None:
    def dashboard(name: str) -> dict[str, Any]:
        values = {"fullnameOverride": name, "metrics": {"dashboard": {"enabled": True}}}
        maps = [each for each in render(values).of("ConfigMap") if each["metadata"]["name"].endswith("-dashboard")]
        (text,) = maps[0]["data"].values()
        found: dict[str, Any] = json.loads(text)
        return found

    one, other = dashboard("one"), dashboard("other")
    assert one["uid"] != other["uid"]
    assert one["title"] != other["title"]
    assert len(one["uid"]) <= 40


def test_the_end_of_kernels_pulls_its_image_by_a_secret_that_outlives_the_releases_own(render: Callable[..., Rendering]) -> None:
    created = {"enabled": True, "secrets": [{"name": "one", "data": "e30="}, {"name": "two", "data": "e30="}]}
    rendering = render({"imagePullSecretsCreate": created})

    (job,) = [each for each in rendering.of("Job") if each["metadata"]["name"].endswith("-end-of-kernels")]
    named = {each["name"] for each in job["spec"]["template"]["spec"]["imagePullSecrets"]}
    hooks = {
        each["metadata"]["name"]: int(each["metadata"]["annotations"]["helm.sh/hook-weight"])
        for each in rendering.of("Secret")
        if (each["metadata"].get("annotations") or {}).get("helm.sh/hook") == "post-delete"
    }
    assert len(hooks) == 2
    assert set(hooks) <= named
    assert max(hooks.values()) < int(job["metadata"]["annotations"].get("helm.sh/hook-weight", 0))
