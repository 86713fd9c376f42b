"""What a kernel of each language is asked in tests: the same of all, in its own words."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["LANGUAGES", "Language"]


@dataclass(frozen=True, kw_only=True)
class Language:
    """One kernelspec that is delivered, and code for its kernel."""

    kernelspec: str
    name: str
    """As the kernel itself calls it, in lower case."""
    hello: str
    """Prints `hello, world` with a letter outside of ASCII behind it: `é`."""
    remember: str
    """Binds `kept` to 42."""
    recall: str
    """Prints `kept`, or fails."""
    value: str
    """Ends with the value 42, which is shown."""
    error: str
    """Fails with `wrong` in its message."""
    picture: tuple[str, str]
    """Shows something, and the MIME type of it."""
    complete: tuple[str, str]
    """A beginning, and one of its completions."""
    inspect: tuple[str, str]
    """A name, and a word of what is known of it."""
    incomplete: str
    asks: str
    """Asks for a line with the prompt `name? `, and prints `hello, ` and the line."""
    loop: str
    """Prints `begun` and never ends by itself; does nothing but compute."""
    child: str
    """Prints `begun` and waits for a child that sleeps for ten minutes."""
    crash: str
    """Ends the kernel's process by SIGKILL."""
    process: str
    """Prints the number of the kernel's process."""
    write: str
    """Writes a file `kept.txt` into the working directory."""
    read: str
    """Prints `true` where that file is there, whatever the case."""


_R = Language(
    kernelspec="R_kubernetes",
    name="r",
    hello='cat("hello, world \\u00e9\\n")',
    remember="kept <- 42",
    recall='cat(kept, "\\n")',
    value="6 * 7",
    error='stop("wrong")',
    picture=("plot(1:3)", "image/png"),
    complete=("read.cs", "read.csv"),
    inspect=("read.csv", "read"),
    incomplete="f <- function(x) {",
    asks='cat("hello,", readline("name? "), "\\n")',
    loop='cat("begun\\n"); flush(stdout()); while (TRUE) {}',
    child='cat("begun\\n"); flush(stdout()); system("sleep 600")',
    crash='system(paste("kill -9", Sys.getpid()))',
    process='cat(Sys.getpid(), "\\n")',
    write='cat("x", file = "kept.txt")',
    read='cat(file.exists("kept.txt"), "\\n")',
)

_PYTHON = Language(
    kernelspec="python_kubernetes",
    name="python",
    hello='print("hello, world \\u00e9")',
    remember="kept = 42",
    recall="print(kept)",
    value="6 * 7",
    error='raise ValueError("wrong")',
    picture=('from IPython.display import HTML; HTML("<b>bold</b>")', "text/html"),
    complete=("prin", "print"),
    inspect=("print", "Prints"),
    incomplete="def f(x):",
    asks='print("hello,", input("name? "))',
    loop='print("begun", flush=True)\nwhile True: pass',
    child='import subprocess; print("begun", flush=True); subprocess.run(["sleep", "600"])',
    crash="import os; os.kill(os.getpid(), 9)",
    process="import os; print(os.getpid())",
    write='open("kept.txt", "w").close()',
    read='import os; print(os.path.exists("kept.txt"))',
)

_TENSORFLOW = replace(
    _PYTHON,
    kernelspec="python_tf_kubernetes",
    value="import tensorflow as tf; float(tf.reduce_sum(tf.matmul(tf.ones((1, 6)), 7 * tf.ones((6, 1)))))",
)

_SCALA = Language(
    kernelspec="scala_kubernetes",
    name="scala",
    hello='println("hello, world \\u00e9")',
    remember="val kept = 42",
    recall="println(kept)",
    value="6 * 7",
    error='throw new RuntimeException("wrong")',
    picture=('kernel.display.html("<b>bold</b>")', "text/html"),
    complete=("List(1).ma", "map"),
    inspect=("scala.math.Pi", "Double"),
    incomplete="def f(x: Int) = {",
    asks='println("hello, " + scala.io.StdIn.readLine("name? "))',
    loop='println("begun"); while (true) {}',
    child='import scala.sys.process._; println("begun"); "sleep 600".!',
    crash='import scala.sys.process._; Seq("sh", "-c", s"kill -9 ${ProcessHandle.current.pid}").!',
    process="println(ProcessHandle.current.pid)",
    write='java.nio.file.Files.writeString(java.nio.file.Path.of("kept.txt"), "x")',
    read='println(new java.io.File("kept.txt").exists)',
)

LANGUAGES = {"R": _R, "scala": _SCALA, "python": _PYTHON, "TensorFlow": _TENSORFLOW}
