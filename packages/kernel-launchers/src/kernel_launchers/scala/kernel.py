"""The kernel itself: Jupyter's messages on one side, the interpreter on the other."""

import asyncio
import json
import logging
import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Callable, Dict, List, Optional, Union

from ipykernel.kernelbase import Kernel

from kernel_launchers import pod_log
from kernel_launchers.jvm_process import JvmFailed, JvmProcess
from kernel_launchers.scala.interpreter import Interpreter, Outcome
from kernel_launchers.scala.jvm import Jvm
from kernel_launchers.scala.own_jvm import start

__all__ = ["ScalaKernel"]

_FLUSH_SECONDS = 0.1
_END_SECONDS = 10.0
_PROMPT_SECONDS = 0.02
_POLL_MILLISECONDS = 50
_WORD = re.compile(r"[\w.$]+$")
_REST_OF_WORD = re.compile(r"^\w*")
_JARS = re.compile(r"^\s*(?::require|:jars|%AddJar)\s+(?:file:)?(\S+).*$", re.MULTILINE)
_JSON = "application/json"
_LANGUAGE: "Dict[str, Any]" = {
    "name": "scala",
    "version": "2.13",
    "mimetype": "text/x-scala",
    "codemirror_mode": "text/x-scala",
    "pygments_lexer": "scala",
    "file_extension": ".scala",
}


class ScalaKernel(Kernel):
    """Scala for Jupyter."""

    implementation = "kernel-launchers-scala"
    implementation_version = "1.0"
    banner = "Scala"

    def __init__(self, **traits: Any) -> None:  # noqa: ANN401  the base class' traits
        super().__init__(**traits)  # type: ignore[no-untyped-call]  # ipykernel has no types here
        self.language_info = dict(_LANGUAGE)
        self._wire: Any = self.session
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="interpreter")
        self._parent: Dict[str, Any] = {}
        self._ident: Any = None
        self._may_ask = False
        self._unsaid = ""
        self._saying = threading.Lock()
        self._asking = threading.Event()
        self._jvm: Optional[Jvm] = None
        # At once: it takes longer than everything else of the start, and nobody needs it before the first cell.
        self._starting = self._pool.submit(self._start)

    def start_jvm(self) -> JvmProcess:
        """Start the JVM whose interpreter runs the cells."""
        return start()

    def make_interpreter(self, jvm: Jvm) -> Interpreter:
        """Return the interpreter of a JVM."""
        return Interpreter(jvm)

    def run_cell(self, interpreter: Interpreter, code: str) -> Outcome:
        """Run a cell, in the one thread that the interpreter is used by."""
        return interpreter.run(code)

    def _start(self) -> Interpreter:
        self._jvm = Jvm(self.start_jvm(), text=self._printed, frame=self._framed)
        try:
            interpreter = self.make_interpreter(self._jvm)
        except Exception as error:
            raise JvmFailed(f"the Scala interpreter can't be used: {error}") from error
        self.language_info["version"] = interpreter.version
        threading.Thread(target=self._end_with_the_jvm, daemon=True).start()
        return interpreter

    def _end_with_the_jvm(self) -> None:
        """End with the JVM, without which the kernel is dead: its supervisor says so and starts it again."""
        jvm = self._jvm
        while jvm is not None and jvm.status is None:
            time.sleep(_FLUSH_SECONDS)
        if jvm is not None:
            logging.getLogger(__name__).error("The Java virtual machine ended with status %s", jvm.status)
            status = jvm.status or 0
            if status == -signal.SIGKILL:
                # By the same signal, so that the cause that users read is the JVM's.
                os.kill(os.getpid(), signal.SIGKILL)
            os._exit(status if status >= 0 else 128 - status)

    # --------------------------------------------------------------------------------------------------------- output

    def _publish(self, kind: str, content: "Dict[str, Any]") -> None:
        topic = self._topic(kind)  # type: ignore[no-untyped-call]  # as above
        self._wire.send(self.iopub_socket, kind, content, parent=self._parent, ident=topic)

    def _printed(self, name: str, text: str) -> None:
        if not self._starting.done():
            # Of the JVM's own start: no cell has said it.
            os.write(pod_log.descriptor(), text.encode())
            return
        if name != "stdout":
            self._publish("stream", {"name": name, "text": text})
            return
        with self._saying:
            self._unsaid += text
            whole, line_end, rest = self._unsaid.rpartition("\n")
            if line_end:
                self._publish("stream", {"name": name, "text": whole + line_end})
            self._unsaid = rest
        if rest:
            # It may be the prompt of a question that follows at once.
            threading.Timer(_PROMPT_SECONDS, self._say_rest).start()

    def _say_rest(self) -> None:
        with self._saying:
            text, self._unsaid = self._unsaid, ""
            if text:
                self._publish("stream", {"name": "stdout", "text": text})

    def _framed(self, kind: str, parts: "List[bytes]") -> None:
        texts = [part.decode(errors="replace") for part in parts]
        if kind == "input":
            with self._saying:
                prompt, self._unsaid = self._unsaid + "".join(texts), ""
            threading.Thread(target=self._ask, args=(prompt,), daemon=True).start()
            return
        self._say_rest()
        if kind == "display":
            mime, text = texts
            data: Union[str, Any] = text
            if mime == _JSON:
                with suppress(ValueError):
                    data = json.loads(text)
            self._publish("display_data", {"data": {mime: data, "text/plain": text[:80]}, "metadata": {}})
        elif kind == "clear":
            self._publish("clear_output", {"wait": texts == ["true"]})

    # ---------------------------------------------------------------------------------------------------------- input

    def _ask(self, prompt: str) -> None:
        """Ask the user for a line and give it to the cell; where nobody can answer it is an empty one."""
        interpreter = self._starting.result()
        if not self._may_ask:
            self._publish("stream", {"name": "stderr", "text": "This client can't answer questions of a cell.\n"})
            interpreter.answer("")
            return
        self._asking.set()
        with suppress(Exception):
            while self.stdin_socket.poll(0):
                self._wire.recv(self.stdin_socket)  # an answer that came too late
        content = {"prompt": prompt, "password": False}
        self._wire.send(self.stdin_socket, "input_request", content, parent=self._parent, ident=self._ident)
        while self._asking.is_set():
            if self.stdin_socket.poll(_POLL_MILLISECONDS):
                _, reply = self._wire.recv(self.stdin_socket)
                self._asking.clear()
                content = reply["content"] if isinstance(reply, dict) else {}
                interpreter.answer(str(content.get("value", "")))

    # ------------------------------------------------------------------------------------------------------ interrupt

    def pre_handler_hook(self) -> None:
        """Take interrupts while a request is handled, not by an exception: the cell runs in the JVM."""
        self._saved_handler = signal.signal(signal.SIGINT, self._interrupt)

    def post_handler_hook(self) -> None:
        """Take no more."""
        signal.signal(signal.SIGINT, self._saved_handler)

    def _interrupt(self, _number: int, _frame: Any) -> None:  # noqa: ANN401  as signal has it
        self._asking.clear()
        if self._starting.done() and self._starting.exception() is None:
            threading.Thread(target=self._starting.result().interrupt, daemon=True).start()

    # ------------------------------------------------------------------------------------------------------- requests

    async def execute_request(self, stream: Any, ident: Any, parent: "Dict[str, Any]") -> None:  # noqa: ANN401  the base class' signature
        """Remember whose request runs, for what other threads have to say of it."""
        self._parent, self._ident = parent, ident
        self._may_ask = bool(parent["content"].get("allow_stdin"))
        await super().execute_request(stream, ident, parent)  # type: ignore[no-untyped-call]  # ipykernel has no types here

    async def do_execute(
        self,
        code: str,
        silent: bool,  # noqa: FBT001  the base class' signature, as the rest
        store_history: bool = True,  # noqa: ARG002, FBT001, FBT002
        user_expressions: Optional["Dict[str, Any]"] = None,  # noqa: ARG002
        allow_stdin: bool = False,  # noqa: ARG002, FBT001, FBT002
        **_more: Any,  # noqa: ANN401
    ) -> "Dict[str, Any]":
        """Run a cell."""
        loop = asyncio.get_running_loop()
        flushing = loop.create_task(self._flush_now_and_then())
        try:
            outcome = await loop.run_in_executor(self._pool, self._run, code)
        except JvmFailed as error:
            if self._jvm is not None and self._jvm.status is not None:
                # This process ends with its JVM, and then the supervisor answers, which knows why.
                await asyncio.sleep(_END_SECONDS)
            outcome = Outcome(False, str(error), "JvmFailed", str(error))
        finally:
            flushing.cancel()
        self._say_rest()
        if outcome.ok:
            if outcome.shown and not silent:
                content = {"execution_count": self.execution_count, "data": {"text/plain": outcome.shown.rstrip("\n")}}
                self._publish("execute_result", {**content, "metadata": {}})
            return {"status": "ok", "execution_count": self.execution_count, "payload": [], "user_expressions": {}}
        lines = outcome.shown.rstrip("\n").splitlines() or [f"{outcome.error_name}: {outcome.error_words}"]
        told = {"ename": outcome.error_name, "evalue": outcome.error_words, "traceback": lines}
        if not silent:
            self._publish("error", told)
        return {"status": "error", "execution_count": self.execution_count, **told}

    def _run(self, code: str) -> Outcome:
        interpreter = self._starting.result()
        return self.run_cell(interpreter, _JARS.sub(lambda match: f"kernel.jars({json.dumps(match[1])})", code))

    async def _flush_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            if self._starting.done() and self._starting.exception() is None:
                with suppress(Exception):
                    await asyncio.to_thread(self._starting.result().flush)

    async def _asked(self, question: "Callable[[Interpreter], Any]") -> Any:  # noqa: ANN401  whatever the question is about
        """Return the interpreter's answer to a question between cells; it isn't held up by them, nor holds up the loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: question(self._starting.result()))

    async def do_complete(self, code: str, cursor_pos: Optional[int]) -> "Dict[str, Any]":
        """Complete a name."""
        cursor = len(code) if cursor_pos is None else cursor_pos
        start, names = await self._asked(lambda interpreter: interpreter.complete(code, cursor))
        span = {"cursor_start": start if names else cursor, "cursor_end": cursor}
        return {"status": "ok", "matches": names, **span, "metadata": {}}

    async def do_inspect(
        self,
        code: str,
        cursor_pos: int,
        detail_level: int = 0,  # noqa: ARG002  the base class' signature, as the rest
        omit_sections: Any = (),  # noqa: ANN401, ARG002
    ) -> "Dict[str, Any]":
        """Tell the type of what stands at the cursor."""
        before, after = _WORD.search(code[:cursor_pos]), _REST_OF_WORD.match(code[cursor_pos:])
        name = (before.group() if before else "") + (after.group() if after else "")
        found = await self._asked(lambda interpreter: interpreter.type_of(name)) if name.strip(".") else ""
        data = {"text/plain": f"{name}: {found}"} if found else {}
        return {"status": "ok", "found": bool(found), "data": data, "metadata": {}}

    async def do_is_complete(self, code: str) -> "Dict[str, Any]":
        """Tell whether code can be run as it is."""
        status = await self._asked(lambda interpreter: interpreter.is_complete(code))
        return {"status": status, **({"indent": "  "} if status == "incomplete" else {})}

    async def do_shutdown(self, restart: bool) -> "Dict[str, Any]":  # noqa: FBT001  the base class' signature
        """End the JVM with the kernel."""
        jvm, self._jvm = self._jvm, None
        if jvm is not None:
            jvm.close()
        return {"status": "ok", "restart": restart}
