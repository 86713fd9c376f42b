"""Compiles what a kernel has in its JVM, and writes down the classes of a Scala session: `python -m … .archive`.

Every later session of this image begins with them.
"""

from kernel_launchers.scala.interpreter import Interpreter
from kernel_launchers.scala.jvm import Jvm
from kernel_launchers.scala.own_jvm import archive, jars, java, libraries, start
from kernel_launchers.scala.prelude import compile_into

__all__ = ["main"]

_CELLS = ("6 * 7", 'println(List(1, 2).map(_ + 1).mkString(" "))', "def f(x: Int): String = x.toString")


def main() -> None:
    """Run a session and keep its classes."""
    compile_into(str(libraries()), java(), jars())
    jvm = Jvm(start(keep_classes=True), text=lambda _name, _text: None, frame=lambda _kind, _parts: None)
    interpreter = Interpreter(jvm)
    for cell in _CELLS:
        interpreter.run(cell)
    interpreter.complete("List(1).ma", 10)
    jvm.end()
    if not archive().is_file():
        raise SystemExit(f"{archive()} wasn't written")


if __name__ == "__main__":
    main()
