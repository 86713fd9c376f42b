"""What is read of the interpreter's words; the interpreter itself is tested in pods."""

import pytest

from kernel_launchers.scala.interpreter import error_of


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("java.lang.RuntimeException: wrong\n  ... 32 elided\n", ("RuntimeException", "wrong")),
        ("java.lang.StackOverflowError\n  at f(<console>:1)\n", ("StackOverflowError", "")),
        ("     ^\n     error: type mismatch;\n      found: Int(5)\n", ("CompileError", "type mismatch;")),
        ("something else\n", ("Error", "something else")),
    ],
)
def test_an_error_has_the_name_and_the_words_that_a_client_shows(said, error):
    assert error_of(said) == error
