"""A kernel's environment is made of its own request: whatever else is under way, nothing of it shows up here."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.support.kernel_socket import KernelSocket, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.servers import Server

pytestmark = pytest.mark.usefixtures("_ours")


def _environment(server: Server, kernel_id: str) -> dict[str, str]:
    with KernelSocket(server, kernel_id) as client:
        return json.loads(text_of(client.run("import json, os; print(json.dumps(dict(os.environ)))")))


def test_a_start_without_env_gets_nothing_of_the_starts_around_it(server: Server) -> None:
    users = ["ada", None, "bob", None, "cleo", None]
    bodies = [
        {"name": "python3"}
        if user is None
        else {"name": "python3", "env": {"KERNEL_USERNAME": user, "KERNEL_ID": str(uuid.uuid4()), f"KERNEL_OF_{user}": user}}
        for user in users
    ]
    with ThreadPoolExecutor(len(bodies)) as executor:
        answers = list(executor.map(lambda body: server.request("POST", "/api/kernels", json=body), bodies))
        assert [answer.status_code for answer in answers] == [201] * len(bodies)
        ids = [answer.json()["id"] for answer in answers]
        environments = list(executor.map(lambda kernel_id: _environment(server, kernel_id), ids))
    assert len(set(ids)) == len(ids)
    for user, body, kernel_id, environment in zip(users, bodies, ids, environments, strict=True):
        own = {name for name in environment if name.startswith("KERNEL_OF_")}
        assert own == (set() if user is None else {f"KERNEL_OF_{user}"})
        assert environment["KERNEL_ID"] == kernel_id
        if user is None:
            assert environment["KERNEL_USERNAME"] not in users
        else:
            assert environment["KERNEL_USERNAME"] == user
            assert kernel_id == body["env"]["KERNEL_ID"]
    for kernel_id in ids:
        server.stop_kernel(kernel_id)


def test_a_kernel_sees_neither_the_token_nor_the_gateways_other_variables(own_server: Callable[..., Server]) -> None:
    secrets = {"AWS_SECRET_ACCESS_KEY": "aws", "DATABASE_PASSWORD": "database", "KUBECONFIG_TOKEN": "cluster"}
    server = own_server(environment=secrets | {"SHARED": "yes"}, settings={"INHERITED_ENVS": "PATH,SHARED"})
    for body in ({"name": "python3"}, {"name": "python3", "env": {"KERNEL_USERNAME": "ada"}}):
        environment = _environment(server, server.start_kernel(**body))
        assert not set(secrets) & set(environment)
        assert server.token not in environment.values()
        assert not {"EG_AUTH_TOKEN", "KG_AUTH_TOKEN"} & set(environment)
        assert environment["SHARED"] == "yes"
        assert environment["KERNEL_GATEWAY"] == "1"


def test_only_names_that_the_operator_allows_reach_the_kernel(own_server: Callable[..., Server]) -> None:
    server = own_server(settings={"CLIENT_ENVS": "ALLOWED,FROM_SPEC"})
    sent = {"KERNEL_MINE": "1", "ALLOWED": "2", "FROM_SPEC": "client", "LD_PRELOAD": "/evil.so", "OTHER": "3"}
    environment = _environment(server, server.start_kernel("with-env", env=sent))
    assert (environment["KERNEL_MINE"], environment["ALLOWED"]) == ("1", "2")
    assert environment["FROM_SPEC"] == "client"
    assert not {"LD_PRELOAD", "OTHER"} & set(environment)


def test_a_kernelspecs_variables_are_filled_with_what_the_gateway_says_of_the_kernel(server: Server) -> None:
    kernel_id = server.start_kernel("with-env")
    environment = _environment(server, kernel_id)
    assert environment["SPEC_OF_KERNEL"] == f"with-env {kernel_id}"
    assert environment["SPEC_OF_USER"] == f"of {environment['KERNEL_USERNAME']}"
    server.stop_kernel(kernel_id)


def test_a_restart_keeps_the_environment_of_the_start(server: Server) -> None:
    kernel_id = server.start_kernel("with-env", env={"KERNEL_USERNAME": "ada"})
    before = _environment(server, kernel_id)
    assert server.request("POST", f"/api/kernels/{kernel_id}/restart").status_code == 200
    after = _environment(server, kernel_id)
    assert before["SPEC_OF_USER"] == "of ada"
    volatile = {"JPY_PARENT_PID", "JPY_INTERRUPT_EVENT"}
    assert {k: v for k, v in after.items() if k not in volatile} == {k: v for k, v in before.items() if k not in volatile}
    server.stop_kernel(kernel_id)


def test_an_empty_variable_that_the_gateway_understands_is_one_that_isnt_set(server: Server) -> None:
    empty = dict.fromkeys(("KERNEL_ID", "KERNEL_USERNAME", "KERNEL_LAUNCH_TIMEOUT", "KERNEL_UID", "KERNEL_VOLUMES"), "")
    kernel_id = server.start_kernel("with-env", env=empty)
    environment = _environment(server, kernel_id)
    assert environment["KERNEL_ID"] == kernel_id
    assert environment["KERNEL_USERNAME"]
    assert not {"KERNEL_LAUNCH_TIMEOUT", "KERNEL_UID", "KERNEL_VOLUMES"} & set(environment)
    server.stop_kernel(kernel_id)
