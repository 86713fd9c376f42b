"""The published description holds: schemathesis makes requests from it, right and wrong ones, and checks every answer.

The gateway of this module is full (its one kernel runs), so a well-formed start is answered with the documented 403 and
hundreds of requests start nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.support.servers import Product, Server, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from schemathesis.schemas import APIOperation

# A minute for thousands of requests, and several on a machine that runs the other tests beside it.
pytestmark = pytest.mark.timeout(400)

_CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# The same examples each time, and no database of earlier ones: a failure here is a failure for everybody.
_BOUNDED = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
# Half of them right, half of them wrong, for each operation.
_EXAMPLES = 200
# Names as nobody's description asks for them: beyond what a file system or Kubernetes takes, or with a meaning there. Longer
# ones would make a request line that no HTTP server reads.
_HOSTILE_NAMES = st.one_of(
    st.builds(lambda piece, times: piece * times, st.text(min_size=1, max_size=3), st.integers(64, 200)),
    st.sampled_from(
        ["..", "../..", "/etc/passwd", "\0", "a\0b", "%00", "~", "*", "con", "-", ".", "a\nb", "\u202e", "a,b=c", "{x}"]
    ),
    st.text(),
)


@pytest.fixture(scope="module")
def full_server(product: Product, workspace: Workspace) -> Iterator[Server]:
    if product is not Product.GATEWAY:
        pytest.skip("a promise of our gateway only")
    server = Server(product=product, workspace=workspace, token="openapi-token", settings={"MAX_KERNELS": "1"}).start()
    server.start_kernel()
    yield server
    assert server.running
    assert "Traceback" not in server.log
    server.stop()


@pytest.fixture(scope="module")
def operations(full_server: Server) -> list[APIOperation]:
    schema = schemathesis.openapi.from_url(full_server.url + "/api/openapi.json", headers=full_server.headers)
    # A websocket's operation is an upgrade, which no plain request can make.
    return [operation.ok() for operation in schema.exclude(path_regex="channels$").get_all_operations()]


def _examine(operation: APIOperation, mode: GenerationMode, send: Callable[[schemathesis.Case], None], examples: int) -> None:
    """Send so many requests of an operation; the first answer that isn't documented fails the test with the request."""

    @settings(_BOUNDED, max_examples=examples)
    @given(case=operation.as_strategy(generation_mode=mode))
    def examine(case: schemathesis.Case) -> None:
        send(case)

    try:
        examine()
    except Unsatisfiable:  # nothing can be wrong about an operation without parameters and body
        assert mode is GenerationMode.NEGATIVE


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_answer_is_a_documented_one(full_server: Server, operations: list[APIOperation], mode: GenerationMode) -> None:
    def send(case: schemathesis.Case) -> None:
        case.call_and_validate(base_url=full_server.url, headers=full_server.headers, checks=_CHECKS, timeout=10)

    for operation in operations:
        _examine(operation, mode, send, examples=_EXAMPLES // 2)


def test_a_name_that_nothing_can_have_is_a_clients_mistake(full_server: Server, operations: list[APIOperation]) -> None:
    def examine(operation: APIOperation) -> None:
        @settings(_BOUNDED, max_examples=_EXAMPLES // 2)
        @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE), name=_HOSTILE_NAMES)
        def send(case: schemathesis.Case, name: str) -> None:
            case.path_parameters.update(dict.fromkeys(case.path_parameters, name))
            if "path" in case.path_parameters:  # a file is only looked for in the folder of a kernelspec that exists
                case.path_parameters["kernel_name"] = "python3"
            case.query["user"] = name
            # Not that the answer is this operation's: a client takes `..` for the folder above before it sends it.
            checks = [not_a_server_error]
            case.call_and_validate(base_url=full_server.url, headers=full_server.headers, checks=checks, timeout=10)

        send()

    for operation in operations:
        if "{" in operation.path or "user" in (parameter.name for parameter in operation.query):
            examine(operation)


def test_an_answer_without_the_token_is_a_documented_one(full_server: Server, operations: list[APIOperation]) -> None:
    def send(case: schemathesis.Case) -> None:
        case.call_and_validate(base_url=full_server.url, checks=_CHECKS, timeout=10)

    for operation in operations:
        _examine(operation, GenerationMode.POSITIVE, send, examples=1)


def test_the_answers_about_a_kernel_that_exists_are_documented_ones(full_server: Server, operations: list[APIOperation]) -> None:
    (kernel_id,) = full_server.kernel_ids()
    path = f"/api/kernels/{kernel_id}/executions"
    msg_id = full_server.request("POST", path, json={"code": "print(1)"}).json()["msg_id"]

    def send(case: schemathesis.Case) -> None:
        case.path_parameters["kernel_id"] = kernel_id
        case.path_parameters.update({"msg_id": msg_id} if "msg_id" in case.path_parameters else {})
        case.query.pop("follow", None)
        answer = case.call_and_validate(base_url=full_server.url, headers=full_server.headers, checks=_CHECKS, timeout=20)
        assert answer.status_code in {200, 202, 204}

    # What answers at a kernel's port describes itself.
    ours = [operation for operation in operations if "/proxy/" not in operation.path]
    of_a_kernel = [operation for operation in ours if "{kernel_id}" in operation.path and operation.method != "delete"]
    assert len(of_a_kernel) == 6
    for operation in of_a_kernel:
        _examine(operation, GenerationMode.POSITIVE, send, examples=1)
