"""The Scala compiler's own interpreter, as the kernel uses it."""

import re
import tempfile
import threading
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

from kernel_launchers.jvm_process import JvmFailed
from kernel_launchers.scala.jvm import Jvm

__all__ = ["Interpreter", "Outcome", "error_of"]

# The first that the interpreter runs: what cells know as `kernel`. It also gets the compiler going.
_FIRST = "import kernel_launchers.kernel"
_OUTPUT_SECONDS = 5.0
# What has not heeded Java's interruption by then is stopped; programs that it waits for end before.
_CHILDREN_SECONDS, _STOP_SECONDS = 0.3, 1.0
_EXCEPTION = re.compile(r"^(?P<name>[\w.$]+(?:Exception|Error|Throwable|ThreadDeath|\$\w+))(?:: (?P<words>.*))?$")


class Outcome(NamedTuple):
    """What became of a cell."""

    ok: bool
    shown: str
    """What the interpreter says of values and definitions, or of what is wrong."""
    error_name: str = ""
    error_words: str = ""


class Interpreter:
    """Runs Scala in a JVM; one cell at a time, and other questions between.

    Parameters
    ----------
    jvm
        Where.
    folder
        Where the classes of cells are written to; `None` for a new one.
    interrupting
        Called first when a cell is interrupted.
    """

    def __init__(self, jvm: Jvm, *, folder: Optional[str] = None, interrupting: Callable[[], object] = lambda: None) -> None:
        self._jvm = jvm
        self._interrupting = interrupting
        classes = jvm.classes
        interpreter = classes.scala.tools.nsc.interpreter
        classes_folder = folder or tempfile.mkdtemp(prefix="scala-classes-")
        configuration = classes.scala.tools.nsc.Settings()
        options = self._list("-usejavacp", "-Yrepl-class-based", "-Yrepl-outdir", classes_folder)
        configuration.processArguments(options, True)
        self._said = classes.java.io.StringWriter()
        reporter = interpreter.shell.ReplReporterImpl(configuration, classes.java.io.PrintWriter(self._said, True))
        self._main = classes.kernel_launchers.Interpreter(configuration, reporter)
        self._lines = classes.java.util.concurrent.LinkedBlockingQueue()
        self._finished = threading.Event()
        self._finished.set()
        self._interrupted = False
        self._api = self._begin()

    def _begin(self) -> Any:  # noqa: ANN401  an object of the JVM
        api = self._jvm.classes.kernel_launchers.kernel
        api.begin(self._jvm.token, self._main, self._lines)
        result = self._main.interpret(_FIRST)
        said = self._take_said()
        if str(result.toString()) != "Success":
            raise JvmFailed(f"the Scala interpreter can't be used: {said}")
        return api

    def _list(self, *items: str) -> Any:  # noqa: ANN401  as above
        """Return a list of Scala's."""
        collected = self._jvm.classes.java.util.ArrayList()
        for item in items:
            collected.add(item)
        return self._jvm.classes.scala.jdk.javaapi.CollectionConverters.asScala(collected).toList()

    def _take_said(self) -> str:
        said = str(self._said.toString())
        self._said.getBuffer().setLength(0)
        return said

    @property
    def version(self) -> str:
        """Scala's version."""
        return str(self._jvm.classes.scala.util.Properties.versionNumberString())

    def run(self, code: str) -> Outcome:
        """Run a cell and return when it has ended and all that it printed was told."""
        self._jvm.expect_end()
        result = self._interpreted(code)
        said = self._take_said()
        self._api.mark()
        self._jvm.wait_for_end(_OUTPUT_SECONDS)
        return Outcome(ok=True, shown=said) if result == "Success" else self._failure(result, said)

    def run_quietly(self, code: str) -> Outcome:
        """Run code of the kernel's own between cells: what the interpreter says of its values is nobody's."""
        result = self._interpreted(code)
        said = self._take_said()
        return Outcome(ok=True, shown="") if result == "Success" else self._failure(result, said)

    def _interpreted(self, code: str) -> str:
        self._interrupted = False
        self._finished.clear()
        try:
            return str(self._main.interpret(code).toString())
        except Exception as error:
            if self._jvm.has_ended():
                raise JvmFailed(f"the Java virtual machine ended with status {self._jvm.status}") from error
            return "Error"
        finally:
            self._finished.set()

    def _failure(self, result: str, said: str) -> Outcome:
        if result == "Incomplete":
            return Outcome(ok=False, shown="", error_name="SyntaxError", error_words="The code isn't complete.")
        if self._interrupted:
            return Outcome(ok=False, shown=said, error_name="Interrupted", error_words="The cell was interrupted.")
        return Outcome(False, said, *error_of(said))

    def add_jars(self, paths: "List[str]") -> None:
        """Make the classes of jars known."""
        self._api.addJars(paths)

    def flush(self) -> None:
        """Let what a cell has printed without a line's end be seen."""
        self._api.flush()

    def answer(self, line: str) -> None:
        """Give a line to the cell that waits for one."""
        self._lines.put(line)

    def interrupt(self) -> None:
        """End the cell that runs; returns when it has ended, or was ordered to."""
        self._interrupted = True
        self._interrupting()
        self._api.interrupt()
        if self._finished.wait(_CHILDREN_SECONDS):
            return
        self._api.endChildren()
        if not self._finished.wait(_STOP_SECONDS - _CHILDREN_SECONDS):
            self._api.stop()

    def is_complete(self, code: str) -> str:
        """Return `complete`, `incomplete` or `invalid`."""
        parsed = str(self._main.parse(code).toString())
        self._take_said()
        return {"Left(Incomplete)": "incomplete", "Left(Error)": "invalid"}.get(parsed, "complete")

    def complete(self, code: str, cursor: int) -> "Tuple[int, List[str]]":
        """Return where completion begins, and what completes the code there."""
        start, *names = [str(one) for one in self._api.complete(code, cursor)]
        return int(start), names

    def type_of(self, expression: str) -> str:
        """Return an expression's type; nothing where it has none."""
        found = str(self._main.typeOfExpression(expression, True).toString())
        self._take_said()
        return "" if found == "<notype>" else found


def error_of(said: str) -> "Tuple[str, str]":
    """Return name and words of the error that an interpreter's text tells of."""
    for line in said.splitlines():
        match = _EXCEPTION.match(line)
        if match:
            return match["name"].rsplit(".", 1)[-1], match["words"] or ""
        if "error: " in line:
            return "CompileError", line.split("error: ", 1)[1]
    return "Error", said.strip()
