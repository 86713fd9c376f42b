"""jupyter_kernel_test, by which kernels' authors see whether theirs speaks the protocol, against kernels in pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import jupyter_kernel_test
import pytest
from jupyter_kernel_client.wsclient import KernelWebSocketClient
from tests.support.websocket_client import short_select

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.installation import Installation
    from tests.support.servers import Server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

_NAMES = ("R_kubernetes", "python_kubernetes", "scala_kubernetes")


@pytest.fixture(scope="module")
def gateway(installation: Installation) -> Server:
    for name in _NAMES:
        installation.deliver(name)
    return installation.gateway().start()


@pytest.fixture(scope="class", autouse=True)
def _connected(request: pytest.FixtureRequest, gateway: Server) -> Iterator[None]:
    """Give a class of the suite a kernel of its kernelspec, by a websocket of the gateway."""
    kernel_id = gateway.start_kernel(request.cls.kernel_name)
    patch = pytest.MonkeyPatch()
    short_select(patch)
    client = KernelWebSocketClient(f"{gateway.websocket_url}/api/kernels/{kernel_id}/channels", token=gateway.token)
    client.start_channels()
    client.wait_for_ready(timeout=60)
    request.cls.kc = client
    yield
    client.stop_channels()
    patch.undo()
    gateway.stop_kernel(kernel_id)


class InPod:
    """Keeps the suite from starting a kernel of this machine."""

    @classmethod
    def setUpClass(cls) -> None:
        """Do nothing: the fixture connects."""

    @classmethod
    def tearDownClass(cls) -> None:
        """Do nothing: the fixture disconnects."""


class TestPython(InPod, jupyter_kernel_test.KernelTests):
    kernel_name = "python_kubernetes"
    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('test', file=sys.stderr)"
    completion_samples: ClassVar[list[dict[str, Any]]] = [{"text": "zi", "matches": {"zip"}}]
    complete_code_samples: ClassVar[list[str]] = ["1", "print('hello, world')", "def f(x):\n  return x*2\n\n"]
    incomplete_code_samples: ClassVar[list[str]] = ["print('''hello", "def f(x):\n  x*2"]
    invalid_code_samples: ClassVar[list[str]] = ["import = 7q"]
    code_page_something = "zip?"
    code_generate_error = "raise"
    code_execute_result: ClassVar[list[dict[str, str]]] = [
        {"code": "1+2+3", "result": "6"},
        {"code": "[n*n for n in range(1, 4)]", "result": "[1, 4, 9]"},
    ]
    code_display_data: ClassVar[list[dict[str, str]]] = [
        {"code": "from IPython.display import HTML, display; display(HTML('<b>test</b>'))", "mime": "text/html"}
    ]
    code_history_pattern = "1?2*"
    supported_history_operations = ("tail", "search")
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"


class TestR(InPod, jupyter_kernel_test.KernelTests):
    kernel_name = "R_kubernetes"
    language_name = "R"
    file_extension = ".r"
    code_hello_world = 'print("hello, world")'
    code_stderr = 'message("test")'
    completion_samples: ClassVar[list[dict[str, Any]]] = [{"text": "read.csv", "matches": {"read.csv", "read.csv2"}}]
    complete_code_samples: ClassVar[list[str]] = ["1", "print('hello, world')", "f <- function(x) {\n  x*2\n}"]
    incomplete_code_samples: ClassVar[list[str]] = ["print('hello", "f <- function(x) {\n  x*2"]
    invalid_code_samples: ClassVar[list[str]] = ["x <- 7q"]
    code_page_something = "?cat"
    code_generate_error = "nothing_of_this_name"
    # IRkernel shows the value of a cell so, too.
    code_display_data: ClassVar[list[dict[str, str]]] = [
        {"code": "6 * 7", "mime": "text/plain"},
        {"code": "plot(1:3)", "mime": "image/png"},
    ]
    code_inspect_sample = "cat"
    code_clear_output = "IRdisplay::clear_output()"


class TestScala(InPod, jupyter_kernel_test.KernelTests):
    kernel_name = "scala_kubernetes"
    language_name = "scala"
    file_extension = ".scala"
    code_hello_world = 'println("hello, world")'
    code_stderr = 'System.err.println("test")'
    completion_samples: ClassVar[list[dict[str, Any]]] = [{"text": "scala.math.signu", "matches": {"signum"}}]
    complete_code_samples: ClassVar[list[str]] = ["1", 'println("hello, world")', "def f(x: Int) = {\n  x * 2\n}"]
    incomplete_code_samples: ClassVar[list[str]] = ['println("""hello', "def f(x: Int) = {\n  x * 2"]
    invalid_code_samples: ClassVar[list[str]] = ["val = 7"]
    code_generate_error = 'sys.error("test")'
    code_execute_result: ClassVar[list[dict[str, str]]] = [
        {"code": "val answer = 6 * 7", "result": "val answer: Int = 42"},
        {"code": "List(1, 4, 9).sum"},
    ]
    code_display_data: ClassVar[list[dict[str, str]]] = [
        {"code": 'kernel.display.html("<b>test</b>")', "mime": "text/html"},
        {"code": 'kernel.display.markdown("*test*")', "mime": "text/markdown"},
    ]
    code_inspect_sample = "scala.math.Pi"
    code_clear_output = "kernel.display.clear()"
