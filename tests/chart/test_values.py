"""Values: those of older charts work or are refused with what to write instead, and what can't work is refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.charts import Rendering

_ROOT = Path(__file__).parents[2]
_OLDER = yaml.safe_load((Path(__file__).parent / "older_values.yaml").read_text())


def _nested(path: str, value: object) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _merged(one[key], other[key]) if isinstance(one.get(key), dict) and key in other else other.get(key, one.get(key))
        for key in {**one, **other}
    }


def _objects(rendering: Rendering) -> list[dict[str, Any]]:
    assert not rendering.error, rendering.error
    return [each for each in rendering.objects if each["kind"] != "Secret"]


def _named(key: str) -> list[Any]:
    return [pytest.param(each, id=each["value"]) for each in _OLDER if key in each]


@pytest.mark.parametrize(
    "older", [each for each in _OLDER if not {"instead", "newer"} & set(each)], ids=lambda each: each["value"]
)
def test_a_value_of_an_older_chart_works(render: Callable[..., Rendering], older: dict[str, Any]) -> None:
    others = older.get("with", {})
    if older["value"] == "deployment.enabled":
        others = {"kip": {"serviceName": "elsewhere"}, "authToken": "of-the-gateway-elsewhere"}
    before, after = render(others), render(_merged(others, _nested(older["value"], older["example"])))

    if older["value"] == "authToken":
        assert after.one("Secret")["data"] == {"token": "c2VjcmV0"}
    else:
        assert _objects(before) != _objects(after), "it changes nothing"


def _fixed(older: dict[str, Any], *values: dict[str, Any]) -> dict[str, Any]:
    """Return values with a token that is the same in every rendering."""
    merged: dict[str, Any] = {"authToken": "the-same", **older.get("with", {})}
    for each in values:
        merged = _merged(merged, each)
    return merged


@pytest.mark.parametrize("older", _named("newer"))
def test_an_older_name_does_what_the_newer_value_does(render: Callable[..., Rendering], older: dict[str, Any]) -> None:
    renamed = _nested(older["value"], older["example"])

    assert _objects(render(_fixed(older, renamed))) == _objects(render(_fixed(older, older["newer"])))


@pytest.mark.parametrize("older", _named("wins"))
def test_the_newer_value_wins_where_both_are_set(render: Callable[..., Rendering], older: dict[str, Any]) -> None:
    renamed = _nested(older["value"], older["example"])

    assert _objects(render(_fixed(older, renamed, older["wins"]))) == _objects(render(_fixed(older, older["wins"])))


@pytest.mark.parametrize("older", _named("newer"))
def test_the_notes_name_the_newer_value(
    notes: Callable[[dict[str, Any]], str], moved: dict[str, Any], older: dict[str, Any]
) -> None:
    (entry,) = [each for each in moved["renamed"] if each["value"] == older["value"]]
    (line,) = [
        line for line in notes(_fixed(older, _nested(older["value"], older["example"]))).splitlines() if entry["newer"] in line
    ]

    assert line.split()[0] == older["value"]


@pytest.mark.parametrize("older", _named("wins"))
def test_the_notes_say_which_older_value_has_no_effect(notes: Callable[[dict[str, Any]], str], older: dict[str, Any]) -> None:
    said = notes(_fixed(older, _nested(older["value"], older["example"]), older["wins"]))

    (line,) = [line for line in said.splitlines() if line.split()[:1] == [older["value"]]]
    assert "is set too and wins" in line


def test_the_notes_say_nothing_of_older_names_that_arent_used(notes: Callable[[dict[str, Any]], str]) -> None:
    assert "newer name" not in notes({})


@pytest.mark.parametrize("older", _named("instead"))
def test_a_value_that_nothing_replaces_is_refused_with_what_to_write_instead(
    render: Callable[..., Rendering], older: dict[str, Any]
) -> None:
    error = render(_nested(older["value"], older["example"])).error

    assert f"{older['value']} isn't a value of this chart; write instead" in error
    assert older["instead"] in error


def _offered(rendering: Rendering) -> str:
    (gateway,) = rendering.one("Deployment")["spec"]["template"]["spec"]["containers"]
    return str(next((each["value"] for each in gateway["env"] if each["name"] == "EG_ALLOWED_KERNELS"), ""))


def test_the_kernelspecs_of_this_project_are_offered_by_default(render: Callable[..., Rendering]) -> None:
    delivered = {path.parent.name for path in (_ROOT / "deploy" / "kernelspecs").glob("*/kernel.json")}

    assert delivered <= set(_offered(render()).split(","))


@pytest.mark.parametrize("nothing", [[], None])
def test_all_kernelspecs_that_are_there_are_offered_where_the_list_is_empty(
    render: Callable[..., Rendering], nothing: list[str] | None
) -> None:
    assert _offered(render({"kernel": {"allowedKernels": nothing}})) == ""


def test_a_default_that_gives_way_to_an_older_name_is_known_to_be_one(moved: dict[str, Any], chart: Path) -> None:
    values = yaml.safe_load((chart / "values.yaml").read_text())
    for entry in moved["renamed"]:
        for name in entry["takes"]:
            value = values
            for key in name.split("."):
                value = value[key]
            assert value in ("", [], None, entry.get("default")), name


def test_the_notes_say_that_own_kernelspecs_must_be_named(notes: Callable[[dict[str, Any]], str]) -> None:
    own = {"kernelspecs": {"image": "my/kernelspecs:1"}}

    assert "kernel.allowedKernels=null" in notes(own)
    assert "kernel.allowedKernels=null" not in notes({})
    assert "kernel.allowedKernels=null" not in notes({**own, "kernel": {"allowedKernels": ["mine"]}})


def test_every_value_that_moved_is_of_this_list(moved: dict[str, Any]) -> None:
    for kind, key in (("renamed", "newer"), ("refused", "instead")):
        assert {entry["value"] for entry in moved[kind]} == {each["value"] for each in _OLDER if key in each}


def test_the_defaults_of_the_older_chart_work_but_for_its_socket_which_few_nodes_have(render: Callable[..., Rendering]) -> None:
    values = yaml.safe_load((Path(__file__).parent / "older_defaults.yaml").read_text())
    assert "only nodes that run Docker have it: leave it empty" in render(values).error

    values["kip"]["criSocket"] = "/run/docker.sock"
    rendering = render(values)

    assert not rendering.error, rendering.error
    (puller,) = rendering.one("DaemonSet")["spec"]["template"]["spec"]["containers"]
    chosen = {each["name"]: each.get("value") for each in puller["env"]}
    assert chosen["KIP_GATEWAY_HOST"] == "http://enterprise-gateway.enterprise-gateway.svc:8888"
    # The socket alone, and not the folder of everything that runs on the node.
    (socket,) = [each for each in rendering.one("DaemonSet")["spec"]["template"]["spec"]["volumes"] if each["name"] == "runtime"]
    assert socket["hostPath"] == {"path": "/run/docker.sock", "type": "Socket"}
    assert [port["name"] for port in rendering.one("Service")["spec"]["ports"]] == ["http"]


def test_all_values_that_are_refused_are_told_at_once(render: Callable[..., Rendering]) -> None:
    error = render({"namespace": "a", "kip": {"podSecurityPolicy": {"create": True}}}).error

    assert all(text in error for text in ("--namespace", "pod-security.kubernetes.io/enforce"))


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"kip": {"podSecurityPolicy": {"create": False}}}, id="no policy"),
        pytest.param({"namespace": "enterprise-gateway"}, id="the release's own namespace"),
        pytest.param({"port": None, "k8sMasterPublicIP": None, "kernel": {"whitelist": None}}, id="nothing after the colon"),
    ],
)
def test_an_older_value_that_asks_for_nothing_is_accepted(render: Callable[..., Rendering], values: dict[str, Any]) -> None:
    token = {"authToken": "the-same"}

    assert _objects(render({**token, **values})) == _objects(render(token))


def _ingress(rendering: Rendering) -> tuple[str | None, str, str, dict[str, str]]:
    assert not rendering.error, rendering.error
    made = rendering.one("Ingress")
    (rule,) = made["spec"]["rules"][0]["http"]["paths"]
    return made["spec"].get("ingressClassName"), rule["path"], rule["pathType"], made["metadata"].get("annotations", {})


def test_a_path_with_a_pattern_has_the_type_that_takes_one(render: Callable[..., Rendering]) -> None:
    # As the guide of Enterprise Gateway 2.x shows it: NGINX refuses a pattern of the type Prefix.
    annotations = {"kubernetes.io/ingress.class": "nginx", "nginx.ingress.kubernetes.io/rewrite-target": "/$1"}
    values = {"enabled": True, "annotations": annotations, "hostName": "", "path": "/gateway/?(.*)"}

    assert _ingress(render({"ingress": values})) == (None, "/gateway/?(.*)", "ImplementationSpecific", annotations)
    assert _ingress(render({"ingress": {**values, "pathType": "Exact"}}))[2] == "Exact"


def _base_url(rendering: Rendering) -> str:
    (container,) = rendering.one("Deployment")["spec"]["template"]["spec"]["containers"]
    return next(str(each["value"]) for each in container["env"] if each["name"] == "EG_BASE_URL")


@pytest.mark.parametrize(
    ("older", "expected", "base"),
    [
        pytest.param({"traefik": {"enabled": True}}, ("traefik", "/gateway", "Prefix", {}), "/gateway", id="traefik alone"),
        pytest.param(
            {"traefik": {"annotations": {"traefik.ingress.kubernetes.io/router.middlewares": "a-b@kubernetescrd"}}},
            ("traefik", "/gateway", "Prefix", {"traefik.ingress.kubernetes.io/router.middlewares": "a-b@kubernetescrd"}),
            "/",
            id="traefik with a middleware that takes the path away",
        ),
        pytest.param(
            {"traefik": {"enabled": False, "path": "/a"}, "nginx": {"enabled": True, "path": "/b"}},
            ("nginx", "/b", "Prefix", {}),
            "/b",
            id="nginx with a path that nothing takes away",
        ),
        pytest.param(
            {"traefik": {"path": "/a"}, "nginx": {"enabled": True, "annotations": {"kubernetes.io/ingress.class": "mine"}}},
            (
                "mine",
                "/gateway/?(.*)",
                "ImplementationSpecific",
                {"nginx.ingress.kubernetes.io/use-regex": "true", "nginx.ingress.kubernetes.io/rewrite-target": "/$1"},
            ),
            "/",
            id="a class by annotation",
        ),
        pytest.param({"traefik": {"enabled": False, "path": "/a"}}, (None, "/", "Prefix", {}), "/", id="neither of them"),
    ],
)
def test_the_older_blocks_of_the_ingress_lead_to_the_gateway(
    render: Callable[..., Rendering], older: dict[str, Any], expected: tuple[Any, ...], base: str
) -> None:
    rendering = render({"ingress": {"enabled": True, **older}})

    assert _ingress(rendering) == expected
    assert _base_url(rendering) == base


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param({"kernle": {}}, "additional properties 'kernle' not allowed", id="unknown"),
        pytest.param({"kernel": {"launchTimout": 1}}, "at '/kernel': additional properties 'launchTimout'", id="unknown, deeper"),
        pytest.param({"kernel": {"launchTimeout": "soon"}}, "at '/kernel/launchTimeout': got string", id="type"),
        pytest.param({"kip": {"pullPolicy": "Sometimes"}}, "value must be one of 'Always', 'IfNotPresent'", id="choice"),
        pytest.param({"baseUrl": "gateway"}, "at '/baseUrl'", id="base path"),
        pytest.param({"policy": {"image": ["a"]}}, "additional properties 'image' not allowed", id="policy"),
        pytest.param(
            {"service": {"ports": [{"name": "https", "port": 1}]}}, "value must be one of 'http', 'http-response'", id="port"
        ),
        pytest.param(
            {"kernelspecs": {"image": "a"}, "nfs": {"enabled": True, "internalServerIPAddress": "192.0.2.1"}},
            "kernelspecs.image and nfs.enabled: kernelspecs come from one place",
            id="two sources of kernelspecs",
        ),
        pytest.param({"nfs": {"enabled": True}}, "nfs.enabled needs nfs.internalServerIPAddress", id="nfs"),
        pytest.param({"kernelspecsPvc": {"enabled": True}}, "kernelspecsPvc.enabled needs kernelspecsPvc.name", id="claim"),
        pytest.param(
            {"auth": {"enabled": False}, "authToken": "a"}, "auth.enabled=false means that nobody needs a token", id="no token"
        ),
        pytest.param({"auth": {"existingSecret": "a"}, "authToken": "a"}, "both say what the token is", id="two tokens"),
        pytest.param(
            {"deployment": {"extraEnv": {"EG_AUTH_TOKEN": "a"}}}, "which keep it in a Secret", id="token in the environment"
        ),
        pytest.param(
            {"kernel": {"sparkNamespace": "enterprise-gateway"}},
            "kernel.sparkNamespace names the release's own",
            id="Spark's home",
        ),
        pytest.param(
            {"kernel": {"sparkNamespace": "a", "namespaces": ["a"]}}, "is one of kernel.namespaces", id="Spark among others"
        ),
        pytest.param({"kernel": {"clusterRole": "cluster-admin"}}, "can't be given the role cluster-admin", id="administrators"),
        pytest.param(
            {"kernel": {"namespaces": ["enterprise-gateway"]}}, "names the release's own namespace", id="the gateway's namespace"
        ),
        pytest.param(
            {"kernel": {"warmPool": {"python_kubernetes": {"size": 1}}}},
            "kernel.warmPool needs kernel.shareGatewayNamespace or kernel.fixedNamespaces",
            id="a pool without a namespace to wait in",
        ),
        pytest.param(
            {"kernel": {"shareGatewayNamespace": True, "warmPool": {"a": {"minimum": 2, "maximum": 1}}}},
            "kernel.warmPool.a: minimum is more than maximum",
            id="a pool whose bounds are the wrong way round",
        ),
        pytest.param(
            {"kernel": {"fixedNamespaces": True}},
            "needs the namespaces in kernel.namespaces",
            id="fixed namespaces without any",
        ),
        pytest.param(
            {"kernel": {"shareGatewayNamespace": True, "namespaces": ["a"]}},
            "all kernels run in the release's namespace",
            id="both",
        ),
        pytest.param({"deployment": {"enabled": False}}, "needs kip.serviceName or kip.images", id="a puller of nothing"),
        pytest.param({"deployment": {"enabled": False}, "kip": {"enabled": False}}, "nothing would be installed", id="nothing"),
        pytest.param(
            {"deployment": {"enabled": False}, "kip": {"serviceName": "gateway.peers"}},
            "write its token in authToken or auth.existingSecret",
            id="a puller that nobody told the token",
        ),
        pytest.param({"tls": {"clientCertificates": True}}, "tls.clientCertificates needs tls.secretName", id="certificates"),
        pytest.param(
            {"tls": {"secretName": "a", "clientCertificates": True}}, "has no certificate to ask the gateway with", id="puller"
        ),
        pytest.param(
            {"service": {"ports": [{"name": "http-response", "port": 8877}]}}, "one port that is named http", id="no port"
        ),
        pytest.param(
            {"kip": {"fetcher": "StaticListFetcher", "images": ["a"]}}, "is a list, which FileImagesFetcher takes", id="a list"
        ),
        pytest.param({"kip": {"fetcher": "FileImagesFetcher", "images": "a"}}, "is a text, which StaticListFetcher", id="a text"),
        pytest.param(
            {"fullnameOverride": "eg", "kip": {"serviceName": "enterprise-gateway"}}, "the puller asks eg", id="its own gateway"
        ),
        pytest.param({"replicas": "two"}, "at '/replicas': got string", id="type of an older value"),
        pytest.param(
            {"ingress": {"nginx": {"paths": "/"}}}, "at '/ingress/nginx': additional properties 'paths'", id="an older block"
        ),
        pytest.param(
            {"ingress": {"traefik": {"enabled": True}, "nginx": {"enabled": True}}},
            "ingress.traefik.enabled and ingress.nginx.enabled: an Ingress has one class",
            id="both controllers",
        ),
        pytest.param({"deployment": {"preStopSeconds": 90}}, "must be less than", id="a drain without time"),
    ],
)
def test_what_cant_work_is_refused_in_words(render: Callable[..., Rendering], values: dict[str, Any], words: str) -> None:
    assert words in render(values).error


def test_the_chart_has_nothing_that_lint_minds(lint: Callable[[str], str], case: str) -> None:
    assert lint(case) == ""


def _closed(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    if "object" in schema.get("type", ()):
        if "additionalProperties" not in schema:
            yield path or "/"
        for name, each in schema.get("properties", {}).items():
            yield from _closed(each, f"{path}/{name}")


def test_every_mapping_says_which_keys_it_takes(chart: Path) -> None:
    schema = json.loads((chart / "values.schema.json").read_text())

    assert not schema["additionalProperties"]
    assert not list(_closed(schema))
