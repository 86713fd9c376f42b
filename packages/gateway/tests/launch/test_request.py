import dataclasses

import pytest

from enterprise_gateway.errors import BadRequest, Forbidden, LaunchFailed, PolicyViolation
from enterprise_gateway.launch.environment import EnvironmentBounds, EnvironmentRules
from enterprise_gateway.launch.plan import LaunchSettings
from enterprise_gateway.launch.policy import Policy, check_request
from enterprise_gateway.launch.request import KernelFacts, client_variables, compose_request, kernel_facts, recorded_request
from enterprise_gateway.launch.variables import KernelVariables

FACTS = KernelFacts(kernel_id="k1", kernel_name="python", username="alice", language="python")
RULES = EnvironmentRules(
    bounds=EnvironmentBounds(count=128, value_size=65536, total_size=262144), prohibited_uids=frozenset({0, 7})
)
THIRTEEN = (
    *("PATH", "HOME", "TZ", "LANG", "LANGUAGE", "TMPDIR", "USER", "LOGNAME", "SHELL"),
    *("VIRTUAL_ENV", "PWD", "HOSTNAME", "KUBECONFIG"),
)
OWN = {
    "KERNEL_NAMESPACE": "team",
    "KERNEL_SERVICE_ACCOUNT_NAME": "robot",
    "KERNEL_IMAGE": "other/image:1",
    "KERNEL_UID": "0",
    "KERNEL_GID": "0",
    "KERNEL_VOLUMES": "- name: root\n  hostPath: {path: /}\n",
    "KERNEL_VOLUME_MOUNTS": '[{"name": "root", "mountPath": "/host", "mountPropagation": "HostToContainer"}]',
    "KERNEL_MEMORY": "64Gi",
}


def judge(request, policy=None):
    check_request(request, policy or Policy(), gateway_namespace="gateway", gateway_service_account="gateway-sa")


def compose(kernelspec, *, in_pod=True, inherited=None, **client):
    return compose_request(
        kernel=FACTS,
        client=client_variables(client, RULES),
        kernelspec=kernelspec,
        inherited=inherited or {},
        said={"KERNEL_GATEWAY": "1"},
        in_pod=in_pod,
    )


# ------------------------------------------------------------------------------------------------------- the environment


@pytest.mark.parametrize("name", THIRTEEN)
def test_every_name_in_a_kernelspecs_env_reaches_the_pod(make_plan, name):
    made = make_plan(kernelspec={name: "mine"})
    assert {"name": name, "value": "mine"} in made.pod["spec"]["containers"][0]["env"]


def test_clients_win_over_the_kernelspec_over_what_is_inherited_and_the_facts_over_all():
    made = compose(
        {"KERNEL_A": "spec", "B": "spec", "KERNEL_GATEWAY": "spec", "KERNEL_ID": "spec"},
        inherited={"B": "gateway", "C": "gateway"},
        KERNEL_A="client",
        KERNEL_USERNAME="client",
    ).environment
    assert (made["KERNEL_A"], made["B"], made["C"]) == ("client", "spec", "gateway")
    assert (made["KERNEL_GATEWAY"], made["KERNEL_ID"], made["KERNEL_USERNAME"]) == ("1", "k1", "alice")


def test_the_facts_are_filled_into_a_kernelspecs_env():
    made = compose({"A": "${KERNEL_ID} $KERNEL_NAME ${KERNEL_USERNAME} ${KERNEL_LANGUAGE}"})
    assert made.environment["A"] == "k1 python alice python"


def test_variables_of_the_client_are_filled_in_once_and_unknown_ones_stay():
    made = compose({"A": "<${KERNEL_X}> ${UNKNOWN} ${KERNEL_ID:-none}"}, KERNEL_X="$(id) ${KERNEL_X}")
    assert made.environment["A"] == "<$(id) ${KERNEL_X}> ${UNKNOWN} ${KERNEL_ID:-none}"


def test_a_blank_variable_of_the_client_leaves_the_kernelspecs_in_force():
    made = compose({"KERNEL_MEMORY": "2Gi"}, KERNEL_MEMORY="")
    assert (made.wanted.resources.memory, made.environment["KERNEL_MEMORY"]) == ("2Gi", "2Gi")


# ------------------------------------------------------------------------------------------------------------ the policy


@pytest.mark.parametrize("name", OWN)
def test_what_the_kernelspec_says_is_its_administrators_and_counts(make_request, name):
    request = make_request(kernelspec={name: OWN[name]})
    judge(request)
    assert request.judged == KernelVariables()
    assert request.environment[name]


@pytest.mark.parametrize("name", [name for name in OWN if name != "KERNEL_MEMORY"])
def test_the_same_of_a_client_is_judged_though_the_kernelspec_says_it_too(make_request, name):
    with pytest.raises(PolicyViolation):
        judge(make_request(kernelspec=OWN, **{name: OWN[name]}))


@pytest.mark.parametrize(
    ("kernelspec", "client"),
    [
        ({"KERNEL_IMAGE": "${KERNEL_MINE}"}, {"KERNEL_MINE": "evil/image"}),
        ({"KERNEL_UID": "$KERNEL_MINE"}, {"KERNEL_MINE": "0"}),
        ({"KERNEL_NAMESPACE": "ns-${KERNEL_MINE}"}, {"KERNEL_MINE": "x"}),
        ({"KERNEL_VOLUMES": "[{name: a, nfs: {server: s, path: '/${KERNEL_MINE}'}}]"}, {"KERNEL_MINE": "x"}),
    ],
)
def test_what_a_clients_value_was_filled_into_is_judged_as_the_clients(make_request, kernelspec, client):
    with pytest.raises(PolicyViolation):
        judge(make_request(kernelspec=kernelspec, **client))


def test_what_a_fact_was_filled_into_is_the_administrators(make_request):
    request = make_request(kernelspec={"KERNEL_NAMESPACE": "ns-${KERNEL_USERNAME}"}, KERNEL_USERNAME="alice")
    judge(request)
    assert request.wanted.namespace == "ns-alice"


@pytest.mark.parametrize("username", ["gateway", "kube-system"])
def test_a_users_name_leads_into_no_namespace_of_the_gateway_or_the_system(make_plan, username):
    settings = LaunchSettings(gateway_namespace="gateway")
    with pytest.raises(LaunchFailed, match="gateway's own namespace"):
        make_plan(settings=settings, username=username, kernelspec={"KERNEL_NAMESPACE": "${KERNEL_USERNAME}"})


@pytest.mark.parametrize(
    "path",
    ["/home/${KERNEL_USERNAME}", "/home/$KERNEL_USERNAME"],
)
def test_a_value_cant_add_to_the_document_that_it_is_filled_into(make_request, path):
    hostile = "x}}, {name: evil, hostPath: {path: x}}, {name: y, nfs: {server: s, path: x\n- name: evil\n"
    request = make_request(username=hostile, kernelspec={"KERNEL_VOLUMES": f"- name: home\n  nfs: {{server: s, path: {path}}}\n"})
    assert list(request.wanted.volumes) == [{"name": "home", "nfs": {"server": "s", "path": f"/home/{hostile}"}}]


@pytest.mark.parametrize("username", ["../root", "a/b", "/", ".", ".."])
def test_a_users_name_leads_out_of_no_folder_of_the_kernelspecs_volumes(make_request, username):
    with pytest.raises(BadRequest, match="KERNEL_USERNAME becomes part of a path"):
        make_request(username=username, kernelspec={"KERNEL_VOLUME_MOUNTS": "[{name: a, subPath: 'of/${KERNEL_USERNAME}'}]"})
    assert make_request(username=username, kernelspec={"GREETING": "hello ${KERNEL_USERNAME}"})


@pytest.mark.parametrize(
    ("kernelspec", "words"),
    [
        ({"KERNEL_CPUS": "many"}, "kernelspec's env can't be used: KERNEL_CPUS is not an amount"),
        ({"KERNEL_UID": "root"}, "kernelspec's env can't be used: KERNEL_UID must be a whole number"),
        ({"KERNEL_VOLUMES": "{"}, "kernelspec's env can't be used: KERNEL_VOLUMES can't be read"),
        ({"KERNEL_VOLUMES": "{ ${KERNEL_ID}"}, "kernelspec's env can't be used: KERNEL_VOLUMES can't be read"),
    ],
)
def test_a_mistake_of_the_kernelspecs_isnt_blamed_on_the_client(kernelspec, words):
    with pytest.raises(LaunchFailed, match=words):
        compose(kernelspec)


def test_a_kernelspec_that_contradicts_itself_isnt_blamed_on_the_client(make_request):
    with pytest.raises(LaunchFailed, match="KERNEL_CPUS is more than KERNEL_CPUS_LIMIT"):
        judge(make_request(kernelspec={"KERNEL_CPUS": "2", "KERNEL_CPUS_LIMIT": "1"}))
    with pytest.raises(PolicyViolation, match="KERNEL_CPUS is more than KERNEL_CPUS_LIMIT"):
        judge(make_request(kernelspec={"KERNEL_CPUS_LIMIT": "1"}, KERNEL_CPUS="2"))


def test_variables_of_a_kernelspec_outside_of_pods_are_its_own_affair():
    made = compose({"KERNEL_MEMORY": "4g", "KERNEL_LAUNCH_TIMEOUT": "70"}, in_pod=False)
    assert made.environment["KERNEL_MEMORY"] == "4g"
    assert made.launch_seconds(default=30, maximum=900) == 70


def test_what_the_gateway_hands_on_to_its_kernels_is_the_administrators_too(make_request):
    request = make_request(inherited={"KERNEL_UID": "0", "KERNEL_MEMORY": "1Gi"}, kernelspec={"KERNEL_MEMORY": "2Gi"})
    judge(request)
    assert (request.uid, request.wanted.resources.memory) == (0, "2Gi")


def typed(variables):
    return dataclasses.replace(variables, environment={})


@pytest.mark.parametrize(
    "client",
    [{"KERNEL_FOO": "2"}, {"KERNEL_CPUS": "2", "KERNEL_FOO": "1"}, {"KERNEL_FOO": "3", "KERNEL_UID": "5", "KERNEL_MEMORY": ""}],
)
@pytest.mark.parametrize("inherited", [{}, {"KERNEL_GPUS": "1", "OTHER": "x"}])
@pytest.mark.parametrize("kernelspec", [{}, OWN, {"KERNEL_CPUS": "${KERNEL_FOO}1", "KERNEL_POD_NAME": "nb-${KERNEL_USERNAME}"}])
def test_a_record_tells_the_same_start_again(make_request, client, inherited, kernelspec):
    request = make_request(inherited=inherited, kernelspec=kernelspec, **client)
    again = recorded_request(kernel=request.kernel, environment=request.environment, judged=request.judged_names)
    assert typed(again.judged) == typed(request.judged)
    assert typed(again.wanted) == typed(request.wanted)


# ------------------------------------------------------------------------------------------------------------ the client


@pytest.mark.parametrize(("uid", "error"), [("root", Forbidden), ("", None), ("7", PolicyViolation), ("007", PolicyViolation)])
def test_ids_of_a_client_are_refused_however_they_are_written(uid, error):
    if error is None:
        assert client_variables({"KERNEL_UID": uid}, RULES).uid is None
        return
    with pytest.raises(error, match="KERNEL_UID"):
        client_variables({"KERNEL_UID": uid}, RULES)


def test_what_cant_be_read_of_a_client_is_a_bad_request():
    with pytest.raises(BadRequest, match="KERNEL_CPUS"):
        client_variables({"KERNEL_CPUS": "many"}, RULES)


@pytest.mark.parametrize(
    ("client", "kernelspec", "seconds"),
    [
        (None, None, 30),
        ("40", "70", 40),
        ("", "70", 70),
        (None, "70", 70),
        ("0.5", None, 1),
        ("1e9", None, 900),
        (None, "1e9", 900),
    ],
)
def test_the_launch_timeout_is_the_clients_else_the_kernelspecs_within_its_bounds(client, kernelspec, seconds):
    env = {} if client is None else {"KERNEL_LAUNCH_TIMEOUT": client}
    made = compose({} if kernelspec is None else {"KERNEL_LAUNCH_TIMEOUT": kernelspec}, **env)
    assert made.launch_seconds(default=30, maximum=900) == seconds


@pytest.mark.parametrize("kernel_id", ["", "../x", "a b", "k1", "a\n"])
def test_an_id_that_a_program_chose_has_the_same_form_as_a_clients(kernel_id):
    with pytest.raises(BadRequest, match="KERNEL_ID must be a UUID"):
        kernel_facts(kernel_id=kernel_id, kernel_name="k", username="alice", language="python")


# --------------------------------------------------------------------------------------------------------------- in pods


def test_a_start_without_an_image_says_what_to_set(make_request):
    with pytest.raises(LaunchFailed, match="image_name"):
        make_request(image=None)


def test_an_image_of_the_kernelspec_that_is_none_isnt_blamed_on_the_client(make_request):
    with pytest.raises(LaunchFailed, match="kernelspec's image is not a valid"):
        make_request(image="--flag")


def test_a_relative_working_directory_is_refused_where_working_directories_are_mirrored(make_request):
    with pytest.raises(BadRequest, match="absolute"):
        make_request(mirror_working_dirs=True, KERNEL_WORKING_DIR="../x")


def test_the_working_directory_of_the_client_is_dropped_unless_it_is_mirrored(make_request):
    request = make_request(KERNEL_WORKING_DIR=r"C:\Users\alice")
    assert "kernel_working_dir" not in request.template_variables()
    assert "KERNEL_WORKING_DIR" not in request.environment


def test_a_template_finds_only_what_was_asked_for(make_request):
    variables = make_request(KERNEL_CPUS="2", KERNEL_FOO="bar").template_variables()
    assert variables["kernel_cpus"] == "2"
    assert variables["kernel_foo"] == "bar"
    assert "kernel_memory" not in variables
    assert "kernel_volumes" not in variables
    assert (variables["kernel_uid"], variables["kernel_gid"]) == (1000, 100)
