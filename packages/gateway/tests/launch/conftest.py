import pytest

from enterprise_gateway.launch.plan import LaunchSettings, build_plan
from enterprise_gateway.launch.policy import Policy
from enterprise_gateway.launch.request import KernelFacts, compose_request
from enterprise_gateway.launch.template import DEFAULT_TEMPLATE
from enterprise_gateway.launch.variables import read_variables

KERNEL_ID = "0b5c6f2e-8f0e-4f5d-9d0c-3a1f2b4c5d6e"


@pytest.fixture
def make_request():
    def make(
        *,
        username="alice",
        image="elyra/kernel-py:dev",
        mirror_working_dirs=False,
        facts_of_kernelspec=None,
        kernelspec=None,
        inherited=None,
        **environment,
    ):
        request = compose_request(
            kernel=KernelFacts(kernel_id=KERNEL_ID, kernel_name="python_kubernetes", username=username, language="python"),
            client=read_variables(environment),
            kernelspec=kernelspec or {},
            inherited=inherited or {},
            said={},
            in_pod=True,
        )
        return request.in_pod(default_image=image, mirror_working_dirs=mirror_working_dirs, **(facts_of_kernelspec or {}))

    return make


@pytest.fixture
def make_plan(make_request):
    def make(
        *,
        policy=None,
        settings=None,
        template=DEFAULT_TEMPLATE,
        executor_template=None,
        command=("launch-kernel",),
        facts=None,
        **request,
    ):
        return build_plan(
            request=make_request(**request),
            policy=policy or Policy(),
            settings=settings or LaunchSettings(),
            template=template,
            executor_template=executor_template,
            command=command,
            connection_file='{"key": "topsecret"}',
            facts=facts or {},
            launch_id="a1b2c",
        )

    return make
