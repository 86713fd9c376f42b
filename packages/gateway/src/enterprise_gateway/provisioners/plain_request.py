"""The start that the environment of a plain Jupyter Server describes, or of another program that is its own client."""

from collections.abc import Mapping

from jupyter_client.kernelspec import KernelSpec

from enterprise_gateway.launch.environment import EnvironmentRules, inherited_environment
from enterprise_gateway.launch.request import LaunchRequest, client_variables, compose_request, kernel_facts
from enterprise_gateway.launch.variables import PREFIX
from enterprise_gateway.provisioners.registry import kernelspec_environment

__all__ = ["plain_request"]

_DEFAULT_USERNAME = "anonymous"
_EVERY_NAME = "*"


def plain_request(
    *, kernel_id: str, kernel_name: str, kernel_spec: KernelSpec, environment: Mapping[str, str], rules: EnvironmentRules
) -> LaunchRequest:
    """Return a start, from the environment that its program hands in and the kernelspec's own.

    Raises
    ------
    GatewayError
        A variable can't be read, or isn't allowed.
    """
    # The asterisk means all that a client sends. Here it would be all of the program's environment.
    named = rules.client_envs - {_EVERY_NAME}
    client = client_variables(
        {name: value for name, value in environment.items() if name.startswith(PREFIX) or name in named}, rules
    )
    return compose_request(
        kernel=kernel_facts(
            kernel_id=kernel_id,
            kernel_name=kernel_name,
            username=client.username or _DEFAULT_USERNAME,
            language=kernel_spec.language,
        ),
        client=client,
        kernelspec=kernelspec_environment(kernel_spec),
        inherited=inherited_environment(environment, rules, on_this_machine=False),
        said={},
        in_pod=True,
    )
