"""Pod templates: `kernel-pod.yaml.j2` in Jinja2's sandbox, and the older `kernel-pod.yaml` with `${kernel_xxx}`.

Both print tokens (see `tokens`), so both give a tree whose shape is the template's alone.
"""

import dataclasses
import enum
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from enterprise_gateway.errors import LaunchFailed
from enterprise_gateway.launch.documents import DocumentError, read_documents
from enterprise_gateway.launch.tokens import TokenError, TokenTable

__all__ = ["DEFAULT_TEMPLATE", "Dialect", "PodTemplate", "find_executor_template", "find_template", "render"]

_TABLE = "_token_table"
_EXECUTOR_TEMPLATE = "executor-pod.yaml.j2"
_DOLLAR_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MAXIMUM_CHARACTERS = 1024 * 1024
_KEPT_CHARACTERS = 64 * 1024
# Variables of the other dialect, or of neither: Kubernetes would get them as they are written.
_UNFILLED = re.compile(r"\$\{?(kernel_[a-z0-9_]+)\}?")
_JINJA_VARIABLE = re.compile(r"\{\{-?\s*(kernel_[a-z0-9_]+)")


class Dialect(enum.StrEnum):
    """How a template is written."""

    JINJA = "kernel-pod.yaml.j2"
    DOLLAR = "kernel-pod.yaml"


@dataclass(frozen=True)
class PodTemplate:
    """The text of a template and how it is written."""

    source: str
    dialect: Dialect
    file: str = ""
    """What it is called; empty for the name that its dialect has."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.file or self.dialect.value


# Admitted under the `restricted` Pod Security Standard as it is.
DEFAULT_TEMPLATE = PodTemplate(
    """\
apiVersion: v1
kind: Pod
metadata:
  name: {{ kernel_pod_name }}
  namespace: {{ kernel_namespace }}
spec:
  restartPolicy: Never
  serviceAccountName: {{ kernel_service_account_name }}
  securityContext:
    runAsNonRoot: true
    runAsUser: {{ kernel_uid }}
    runAsGroup: {{ kernel_gid }}
    fsGroup: 100
    seccompProfile:
      type: RuntimeDefault
  containers:
  - name: kernel
    image: {{ kernel_image }}
    {% if kernel_working_dir is defined %}
    workingDir: {{ kernel_working_dir }}
    {% endif %}
    securityContext:
      allowPrivilegeEscalation: false
      capabilities:
        drop: [ALL]
    resources:
      requests:
        {% if kernel_cpus is defined %}
        cpu: {{ kernel_cpus }}
        {% endif %}
        {% if kernel_memory is defined %}
        memory: {{ kernel_memory }}
        {% endif %}
        {% if kernel_gpus is defined %}
        nvidia.com/gpu: {{ kernel_gpus }}
        {% endif %}
      limits:
        {% if kernel_cpus_limit is defined %}
        cpu: {{ kernel_cpus_limit }}
        {% endif %}
        {% if kernel_memory_limit is defined %}
        memory: {{ kernel_memory_limit }}
        {% endif %}
        {% if kernel_gpus_limit is defined %}
        nvidia.com/gpu: {{ kernel_gpus_limit }}
        {% endif %}
    {% if kernel_volume_mounts is defined %}
    volumeMounts: {{ kernel_volume_mounts }}
    {% endif %}
  {% if kernel_volumes is defined %}
  volumes: {{ kernel_volumes }}
  {% endif %}
""",
    Dialect.JINJA,
)


def find_template(resource_dir: Path) -> PodTemplate:
    """Return the pod template of a kernelspec, the newer form first, or the built-in one where it ships none.

    Raises
    ------
    LaunchFailed
        There is a template that can't be read.
    """
    for dialect in Dialect:
        if (found := _read(resource_dir, PodTemplate("", dialect))) is not None:
            return found
    return DEFAULT_TEMPLATE


def find_executor_template(resource_dir: Path) -> PodTemplate | None:
    """Return a kernelspec's template of the pods that its kernels start; `None` where it ships none.

    Raises
    ------
    LaunchFailed
        There is one that can't be read.
    """
    return _read(resource_dir, PodTemplate("", Dialect.JINJA, _EXECUTOR_TEMPLATE))


def _read(resource_dir: Path, template: PodTemplate) -> PodTemplate | None:
    path = resource_dir / "scripts" / template.name
    if not path.is_file():
        return None
    try:
        return dataclasses.replace(template, source=path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise LaunchFailed(f"The kernelspec's pod template {template.name} can't be read.") from error


def render(template: PodTemplate, variables: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the documents that a template makes of some variables.

    Raises
    ------
    LaunchFailed
        The template is wrong; the text says where.
    """
    table = TokenTable()
    try:
        if template.dialect is Dialect.JINJA:
            text = _render_jinja(template.source, variables, table)
        else:
            text = _render_dollar(template.source, variables, table)
        parsed = (_kept if len(text) <= _KEPT_CHARACTERS else _parsed)(text, template.dialect)
        documents = table.replace(parsed)
    except (jinja2.TemplateError, ArithmeticError, TypeError, ValueError, LookupError, AttributeError) as error:
        words = _words(error)
        raise LaunchFailed(f"The kernelspec's pod template {template.name} can't be used: {words}.") from error
    if not all(isinstance(document, dict) for document in documents):
        raise LaunchFailed(f"The kernelspec's pod template {template.name} makes something that is no object.")
    return [*documents]


def _render_jinja(source: str, variables: Mapping[str, Any], table: TokenTable) -> str:
    text = _compiled(source).render({**variables, _TABLE: table})
    if len(text) > _MAXIMUM_CHARACTERS:
        raise DocumentError(f"it makes more than {_MAXIMUM_CHARACTERS} characters")
    return text


def _render_dollar(source: str, variables: Mapping[str, Any], table: TokenTable) -> str:
    if match := _JINJA_VARIABLE.search(source):
        name = match.group(1)
        raise DocumentError(f"write ${{{name}}} for {{{{ {name} }}}}, or call the file {Dialect.JINJA.value}")
    return _DOLLAR_VARIABLE.sub(lambda match: _printed(variables.get(match.group(1)), table), source)


def _check_unfilled(tree: Any, dialect: Dialect) -> None:  # noqa: ANN401  any part of a document
    """Refuse what is meant for a variable and was never filled in; values aren't in the tree yet, so it is the template's."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            _check_unfilled(key, dialect)
            _check_unfilled(value, dialect)
    elif isinstance(tree, list):
        for value in tree:
            _check_unfilled(value, dialect)
    elif isinstance(tree, str) and (match := _UNFILLED.search(tree)):
        name = match.group(1)
        right = f"{{{{ {name} }}}}" if dialect is Dialect.JINJA else f"${{{name}}}"
        raise DocumentError(f"write {right} for {match.group(0)}")


def _parsed(text: str, dialect: Dialect) -> list[Any]:
    parsed = read_documents(text)
    _check_unfilled(parsed, dialect)
    return parsed


# With tokens in place of values a template makes the same text again and again, and parsing it takes half of a start's processor
# time. What is parsed isn't changed: the values are put into a copy.
_kept = functools.lru_cache(maxsize=64)(_parsed)


# A kernelspec has one template for all its kernels, and compiling it takes longer than everything else of a rendering.
@functools.lru_cache(maxsize=64)
def _compiled(source: str) -> jinja2.Template:
    return _ENVIRONMENT.from_string(source)


def _printed(value: Any, table: TokenTable) -> str:  # noqa: ANN401  a template prints anything
    # Nothing is printed for what isn't there, as Jinja and the older templates do.
    return "" if value is None or isinstance(value, Undefined) else table.issue(value)


# With the context as its argument Jinja never calls it for constants while it compiles, where there is no table yet.
@jinja2.pass_context
def _finalize(context: Context, value: Any) -> str:  # noqa: ANN401  as above
    return _printed(value, context[_TABLE])


def _itself(value: Any, *_arguments: Any, **_options: Any) -> Any:  # noqa: ANN401  as above
    return value


def _make_environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        autoescape=False, trim_blocks=True, lstrip_blocks=True, finalize=_finalize, keep_trailing_newline=True
    )
    # Templates quote values for YAML with these. A token needs no quotes, and quoted twice it would be another value.
    environment.filters.update(dict.fromkeys(("yaml_safe", "tojson", "to_json", "to_yaml", "toyaml", "quote"), _itself))
    return environment


_ENVIRONMENT = _make_environment()


def _words(error: Exception) -> str:
    # An exception of Python's own may quote a value; those of the template's language name places and names of it.
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"line {error.lineno}: {error.message}"
    if isinstance(error, (jinja2.TemplateError, DocumentError, TokenError)):
        return str(error).rstrip(".")
    return f"an expression of it fails with {type(error).__name__}"
