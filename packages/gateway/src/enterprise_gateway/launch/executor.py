"""The pods that a kernel starts itself, as Spark's executors: their template, rendered and checked with the kernel's own.

The gateway doesn't make these pods. It hands the kernel's launcher a document to make them from, so what is checked here
is what the kernelspec says; what the kernel's code asks of Kubernetes is bounded by the namespace it runs in.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from enterprise_gateway.errors import LaunchFailed, PolicyViolation
from enterprise_gateway.launch.template import PodTemplate, render
from enterprise_gateway_common import labels

__all__ = ["check_executor", "executor_pod"]

_CONTAINER = "executor"
_HOST_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")
_KEPT_LABELS = (labels.NAME, labels.INSTANCE, labels.MANAGED_BY, labels.PART_OF, labels.KERNEL_USER)

Document = dict[str, Any]


def executor_pod(
    template: PodTemplate | None,
    variables: Mapping[str, Any],
    *,
    of_kernel: Mapping[str, str],
    pull_secrets: Sequence[str] = (),
    node_selector: Mapping[str, str] = MappingProxyType({}),
) -> Document:
    """Return what a kernel's launcher makes its executors from: the kernelspec's template, if any, with what pulls their image.

    Parameters
    ----------
    of_kernel
        The labels of the kernel's objects, of which executors carry those that don't make them a kernel.
    pull_secrets, node_selector
        As for the kernel's own pod.

    Raises
    ------
    LaunchFailed
        The template is wrong, or makes something else than one pod.
    """
    document = _rendered(template, variables) if template is not None else {}
    metadata, spec = _mapping(document, "metadata"), _mapping(document, "spec")
    containers = spec.get("containers") or [{"name": _CONTAINER}]
    if not isinstance(containers, list) or not all(isinstance(each, dict) for each in containers):
        raise LaunchFailed("The kernelspec's executor template: containers isn't a list of containers.")
    spec = {**spec, "automountServiceAccountToken": False, "containers": containers}
    if node_selector:
        spec["nodeSelector"] = {**node_selector, **_mapping(spec, "nodeSelector")}
    if pull_secrets:
        spec["imagePullSecrets"] = [*(spec.get("imagePullSecrets") or []), *({"name": secret} for secret in pull_secrets)]
    own = {name: of_kernel[name] for name in _KEPT_LABELS if name in of_kernel}
    component = {labels.RECOMMENDED_COMPONENT: labels.COMPONENT_WORKER}
    described = {**metadata, "labels": {**_mapping(metadata, "labels"), **own, **component}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": described, "spec": spec}


def _rendered(template: PodTemplate, variables: Mapping[str, Any]) -> Document:
    documents = render(template, variables)
    if len(documents) != 1 or documents[0].get("kind") != "Pod":
        raise LaunchFailed("The kernelspec's executor template must make one document, a Pod.")
    return documents[0]


def check_executor(executor: Document, *, kernel_pod: Document) -> None:
    """Return when executors have nothing that the kernel's own pod hasn't, by which they would reach out of their pods.

    Raises
    ------
    PolicyViolation
        They have; the text names it.
    """
    for asked in _beyond(executor, kernel_pod):
        raise PolicyViolation(
            f"The kernelspec's executor template asks for {asked}, which the kernel's own pod hasn't. Remove it there, or give "
            "it to the kernel's pod as well."
        )


def _beyond(executor: Document, kernel_pod: Document) -> Iterator[str]:
    spec, kernel = executor["spec"], kernel_pod["spec"]
    namespace = executor["metadata"].get("namespace")
    if namespace not in {None, "", kernel_pod["metadata"]["namespace"]}:
        yield "another namespace"
    for account in (spec.get("serviceAccountName"), spec.get("serviceAccount")):
        if account not in {None, "", kernel["serviceAccountName"]}:
            yield "another service account"
    yield from (name for name in _HOST_NAMESPACES if _is_true(spec.get(name)) and not _is_true(kernel.get(name)))
    if paths := _host_paths(spec) - _host_paths(kernel):
        yield f"the node's {', '.join(sorted(paths))} (hostPath)"
    if _is_root(spec) and not _is_root(kernel):
        yield "root"
    if any(_is_true(each.get("privileged")) for each in _securities(spec)) and not any(
        _is_true(each.get("privileged")) for each in _securities(kernel)
    ):
        yield "a privileged container"
    if capabilities := _capabilities(spec) - _capabilities(kernel):
        yield f"the capabilities {', '.join(sorted(capabilities))}"
    if any(_is_true(each.get("allowPrivilegeEscalation")) for each in _securities(spec)) and any(
        each.get("allowPrivilegeEscalation") is False for each in _securities(kernel)
    ):
        yield "allowPrivilegeEscalation"


def _securities(spec: Document) -> list[Document]:
    """Return the security contexts of a pod and of all its containers."""
    containers = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    found = (each.get("securityContext") for each in [spec, *containers] if isinstance(each, dict))
    return [each for each in found if isinstance(each, dict)]


def _is_root(spec: Document) -> bool:
    named = {str(each.get(key)).strip() for each in _securities(spec) for key in ("runAsUser", "runAsGroup")}
    return any(text.isdigit() and int(text) == 0 for text in named) or (
        any(_is_false(each.get("runAsNonRoot")) for each in _securities(spec))
    )


def _host_paths(spec: Document) -> set[str]:
    volumes = spec.get("volumes") or []
    paths = (each.get("hostPath") for each in volumes if isinstance(each, dict))
    return {str(path.get("path")) if isinstance(path, dict) else str(path) for path in paths if path is not None}


def _capabilities(spec: Document) -> set[str]:
    sets = (each.get("capabilities") for each in _securities(spec))
    return {str(name) for each in sets if isinstance(each, dict) for name in each.get("add") or []}


# Spark's reader of templates takes the texts for the values too.
def _is_true(value: object) -> bool:
    return str(value).lower() == "true"


def _is_false(value: object) -> bool:
    return str(value).lower() == "false"


def _mapping(document: Mapping[str, Any], key: str) -> Document:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise LaunchFailed(f"The kernelspec's executor template: {key} isn't a mapping.")
    return value
