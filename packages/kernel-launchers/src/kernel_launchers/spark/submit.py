"""What Spark is told of a kernel that is its driver: pure, from the kernel's environment to the arguments of spark-submit."""

import re
import shlex
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

from kernel_launchers.errors import InvalidOptions

__all__ = ["Driver", "Submission", "executor_template", "merged_template", "submission"]

_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
_APP = "enterprise-gateway"
_DRIVER_PORT, _BLOCK_MANAGER_PORT = 22321, 22322
_EXECUTORS = "2"
# Variables of a start, and the setting that each is.
_SIZES = (
    ("KERNEL_EXECUTORS", "spark.executor.instances"),
    ("KERNEL_EXECUTOR_CORES", "spark.executor.cores"),
    ("KERNEL_EXECUTOR_MEMORY", "spark.executor.memory"),
    ("KERNEL_EXECUTOR_CPUS", "spark.kubernetes.executor.request.cores"),
    ("KERNEL_EXECUTOR_CPUS_LIMIT", "spark.kubernetes.executor.limit.cores"),
)
_OPTIONS = ("SPARK_OPTS", "KERNEL_EXTRA_SPARK_OPTS")
_PYTHON = "pyspark-shell"
_FLAGS = frozenset({"--verbose", "--supervise"})


class Driver(NamedTuple):
    """The kernel's pod, as its executors have to know it."""

    pod: str
    namespace: str
    address: str
    image: str
    """Of the executors."""
    kernel_id: str
    template: str
    """The path of the executors' template."""


class Submission(NamedTuple):
    """What spark-submit would be called with."""

    settings: "Dict[str, str]"
    options: List[str]
    """Those that are no settings."""

    @property
    def arguments(self) -> List[str]:
        """All of it as a command line has it, with the words that make the JVM one for Python to speak with."""
        return self._arguments(_PYTHON)

    def command_line(self, shell: str = _PYTHON) -> str:
        """Return the same as a shell reads it, for another kind of JVM where one is named."""
        return " ".join(shlex.quote(word) for word in self._arguments(shell))

    @property
    def values(self) -> "Dict[str, str]":
        """The options that have a value, by their names without dashes."""
        pairs = zip(self.options, self.options[1:])
        return {name[2:]: value for name, value in pairs if name.startswith("--") and name not in _FLAGS}

    def _arguments(self, shell: str) -> List[str]:
        confs = [word for name, value in sorted(self.settings.items()) for word in ("--conf", f"{name}={value}")]
        return [*self.options, *confs, shell]


def submission(driver: Driver, environment: Mapping[str, str]) -> Submission:
    """Return what the kernelspec and the client say, under what must be as it is.

    Raises
    ------
    InvalidOptions
        An option can't be read.
    """
    own, rest = _options(environment)
    defaults = {
        "spark.app.name": f"kernel-{driver.kernel_id}",
        "spark.executor.instances": _EXECUTORS,
        "spark.executor.cores": "1",
        "spark.executor.memory": "1g",
        "spark.kubernetes.executor.podNamePrefix": driver.pod[:200],
        # An executor that nobody could take the blocks of isn't given back without it.
        "spark.dynamicAllocation.shuffleTracking.enabled": "true",
        "spark.scheduler.mode": "FAIR",
        # The session is there with the first executor, and not with four fifths of them.
        "spark.scheduler.minRegisteredResourcesRatio": "0.01",
        **{setting: environment[variable] for variable, setting in _SIZES if environment.get(variable)},
    }
    fixed = {
        "spark.master": own.get("spark.master") or _master(environment),
        "spark.submit.deployMode": "client",
        "spark.kubernetes.namespace": driver.namespace,
        "spark.kubernetes.driver.pod.name": driver.pod,
        # Both: executors of Spark 4.3 are told 0.0.0.0 otherwise (SPARK-58748).
        "spark.driver.host": driver.address,
        "spark.driver.bindAddress": driver.address,
        "spark.driver.port": str(_DRIVER_PORT),
        "spark.driver.blockManager.port": str(_BLOCK_MANAGER_PORT),
        "spark.kubernetes.container.image": driver.image,
        "spark.kubernetes.executor.podTemplateFile": driver.template,
        "spark.kubernetes.executor.label.app": _APP,
        "spark.kubernetes.executor.label.component": "worker",
        "spark.kubernetes.executor.label.kernel_id": driver.kernel_id,
        # What a kernel has no rights to make, and needs not.
        "spark.kubernetes.executor.disableConfigMap": "true",
        "spark.kubernetes.driver.reusePersistentVolumeClaim": "false",
        "spark.kubernetes.driver.ownPersistentVolumeClaim": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    if not fixed["spark.master"].startswith("k8s://"):
        for name in [name for name in fixed if name.startswith("spark.kubernetes.")]:
            del fixed[name]
    return Submission({**defaults, **own, **fixed}, rest)


def _options(environment: Mapping[str, str]) -> "Tuple[Dict[str, str], List[str]]":
    """Return the settings that were given, and the options that aren't settings."""
    settings: Dict[str, str] = {}
    rest: List[str] = []
    for variable in _OPTIONS:
        try:
            words = shlex.split(environment.get(variable, ""))
        except ValueError as error:
            raise InvalidOptions(f"{variable} can't be read: {error}") from None
        # The client's options are read for themselves, wherever else they are named.
        names = iter([_filled(word, environment) for word in words if word not in _CLIENTS_OPTIONS])
        for name in names:
            option, equals, value = name.partition("=")
            option = _SHORT.get(option, option)
            if not option.startswith("--"):
                if not _APPLICATION.search(name):
                    raise InvalidOptions(f"{variable}: {name} is no option")
                continue
            if not equals and option not in _FLAGS:
                value = next(names, "")
            if option == "--conf":
                setting, _, text = value.partition("=")
                _keep(settings, setting.strip(), text)
            elif option in _SETTINGS:
                _keep(settings, _SETTINGS[option], value)
            elif option not in _IGNORED:
                rest += [option] if option in _FLAGS else [option, value]
    return settings, rest


def _filled(word: str, environment: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: environment.get(match[1] or match[2], ""), word)


def _keep(settings: "Dict[str, str]", name: str, value: str) -> None:
    # Spark takes an empty image, account or master for one; what is meant is a variable that isn't there.
    if value:
        settings[name] = value


_SETTINGS = {
    "--master": "spark.master",
    "--name": "spark.app.name",
    "--num-executors": "spark.executor.instances",
    "--executor-memory": "spark.executor.memory",
    "--executor-cores": "spark.executor.cores",
    "--driver-memory": "spark.driver.memory",
}
# The kernel is the driver, and runs as the pod's user, whatever older kernelspecs say.
_IGNORED = frozenset({"--deploy-mode", "--class", "--proxy-user", "--supervise"})
_SHORT = {"-c": "--conf", "-v": "--verbose"}
_CLIENTS_OPTIONS = frozenset({"${KERNEL_EXTRA_SPARK_OPTS}", "$KERNEL_EXTRA_SPARK_OPTS"})
# What cluster mode submits: here it is the kernel itself, which runs already. And what is left of a variable that isn't there.
_APPLICATION = re.compile(r"^(local://.*|.*\.(py|jar|R))?$")


def _master(environment: Mapping[str, str]) -> str:
    host = environment.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
    shown = f"[{host}]" if ":" in host else host
    return f"k8s://https://{shown}:{environment.get('KUBERNETES_SERVICE_PORT', '443')}"


def executor_template(*, user: int, group: int) -> "Dict[str, Any]":
    """Return the pod that executors are made from: with no more rights than the kernel's own, and no account's token."""
    container = {
        "name": "executor",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": user,
                "runAsGroup": group,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }


def merged_template(written: Mapping[str, Any], base: Mapping[str, Any]) -> "Dict[str, Any]":
    """Return the kernelspec's template of executors over this module's own: what it says counts, what it leaves out is kept.

    Its first container is the executor's. A token is never mounted.
    """
    merged = _merged(written, base)
    spec = merged["spec"]
    (own,) = base["spec"]["containers"]
    first, *others = spec["containers"] or [{}]
    merged["spec"] = {**spec, "containers": [_merged(first, own), *others], "automountServiceAccountToken": False}
    return merged


def _merged(written: Mapping[str, Any], base: Mapping[str, Any]) -> "Dict[str, Any]":
    both = {
        name: _merged(value, base[name])
        for name, value in written.items()
        if isinstance(value, dict) and isinstance(base.get(name), dict)
    }
    return {**base, **{name: value for name, value in written.items() if value is not None}, **both}
