import asyncio
import json

import pytest

from enterprise_gateway.cluster.default_services import plain_settings, shared_services
from enterprise_gateway.errors import NotSupported


@pytest.fixture
def kubeconfig(tmp_path):
    file = tmp_path / "config"
    parts = {
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "x", **parts}))
    return str(file)


def made(environment):
    """Return what the services of a plain Jupyter Server are made with."""

    async def scenario():
        settings = []
        shared = await shared_services(environment, make_responses=settings.append)
        again = await shared_services(environment, make_responses=settings.append)
        assert again is shared
        await again.release()
        await shared.release()
        return shared.services.options, settings

    return asyncio.run(scenario())


def test_every_setting_of_the_cluster_counts_in_a_plain_jupyter_server(kubeconfig):
    options, (settings,) = made(
        {
            "EG_KUBECONFIG": kubeconfig,
            "EG_INSTANCE": "blue",
            "EG_KERNEL_NAMESPACES": "one,two",
            "EG_SERVICE_ACCOUNT_NAME": "me",
            "EG_DEFAULT_KERNEL_SERVICE_ACCOUNT_NAME": "runner",
            "EG_KERNEL_CLUSTER_ROLE": "spark",
            "EG_KERNEL_IMAGE": "a/b",
            "EG_KERNEL_IMAGE_PULL_SECRETS": "registry",
            "EG_MIRROR_WORKING_DIRS": "on",
            "EG_UNSCHEDULABLE_GRACE": "7",
            "EG_IMAGE_PULL_GRACE": "8",
            "EG_KERNEL_LAUNCH_TIMEOUT": "99",
            "EG_MAX_KERNEL_LAUNCH_TIMEOUT": "100",
            "EG_PULLER_NAMESPACES": "pullers",
            "EG_ENV_PROCESS_WHITELIST": "TZ",
            "EG_PROHIBITED_UIDS": "5",
            "EG_RESPONSE_PORT": "9999",
        }
    )
    launch = options.launch
    assert (launch.instance, launch.namespaces, launch.gateway_service_account) == ("blue", ("one", "two"), "me")
    assert (launch.default_service_account, launch.kernel_cluster_role, launch.default_image) == ("runner", "spark", "a/b")
    assert (launch.image_pull_secrets, launch.mirror_working_dirs) == (("registry",), True)
    assert (options.graces.unschedulable, options.graces.image_pull) == (7, 8)
    assert (options.launch_timeout, options.max_launch_timeout) == (99, 100)
    assert (options.watched_namespaces, options.puller_namespaces) == (("one", "two"), ("pullers",))
    assert (options.environment.inherited_envs, options.environment.prohibited_uids) == ({"TZ"}, {5})
    assert settings.response_port == 9999


def test_no_gateway_takes_its_kernels_and_it_binds_no_role_unless_somebody_says_so(kubeconfig):
    launch = made({"EG_KUBECONFIG": kubeconfig})[0].launch
    assert (launch.instance, launch.kernel_cluster_role) == ("jupyter", None)


@pytest.mark.parametrize("written", ["on", "True", "1", "yes"])
def test_a_boolean_is_read_as_everywhere_else(written):
    assert plain_settings({"EG_SHARED_NAMESPACE": written, "EG_NAMESPACE": "x"}).shared_namespace is True


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"EG_SHARED_NAMESPACE": "maybe"}, "EG_SHARED_NAMESPACE"),
        ({"EG_SHARED_NAMESPACE": "true", "EG_NAMESPACE": "x", "EG_KERNEL_NAMESPACES": "a"}, "exclude each other"),
        ({"EG_KERNEL_CLUSTER_ROLE": "cluster-admin"}, "cluster-admin"),
        ({"EG_PROHIBITED_UIDS": "root"}, "prohibited_uids"),
        ({"EG_PROHIBITED_LOCAL_IPS": "a(b"}, "no regular expression"),
        ({"EG_POLICY_FILE": "/nonexistent"}, "policy_file"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_in_the_log_only(kubeconfig, caplog, environment, words):
    with pytest.raises(NotSupported, match="Its log names the setting"):
        made({"KUBECONFIG": kubeconfig, **environment})
    (record,) = caplog.records
    assert words in record.cause


@pytest.mark.parametrize("more", [{"HOME": "/nonexistent"}, {"EG_KUBERNETES": "off"}])
def test_without_a_cluster_no_kernel_runs_in_a_pod(kubeconfig, more):
    environment = {"KUBECONFIG": kubeconfig} if "EG_KUBERNETES" in more else {}
    with pytest.raises(NotSupported, match="no cluster"):
        made({**environment, **more})
