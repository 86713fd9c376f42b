"""Where the prelude of a Scala kernel comes from, with a program in Java's place; what it does is tested in pods."""

import stat
from pathlib import Path

import pytest

from kernel_launchers.jvm_process import JvmFailed
from kernel_launchers.scala.prelude import compile_into, with_prelude

# Writes the file that follows -d.
_JAVA = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/called"
while [ "$1" != -d ]; do shift; done
echo jar > "$2"
"""


@pytest.fixture
def java(tmp_path):
    """A Java whose Scala compiler takes everything."""
    program = tmp_path / "java"
    program.write_text(_JAVA)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def test_the_prelude_of_the_image_stands_first_and_those_of_other_versions_are_left_out(java, tmp_path):
    (tmp_path / "lib").mkdir()
    own = compile_into(str(tmp_path / "lib"), str(java), ["/scala.jar"])
    calls = (tmp_path / "called").read_text()

    assert with_prelude(str(java), ["/a.jar", "/lib/kernel-launchers-0.jar", own]) == [own, "/a.jar"]
    assert (tmp_path / "called").read_text() == calls


def test_an_image_without_a_prelude_has_it_compiled_at_the_start(java, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first, *others = with_prelude(str(java), ["/scala.jar", "/a.jar"])

    assert Path(first).read_text() == "jar\n"
    assert others == ["/scala.jar", "/a.jar"]
    assert "-cp /scala.jar:/a.jar scala.tools.nsc.Main" in (tmp_path / "called").read_text()


def test_a_folder_has_one_prelude(java, tmp_path):
    old = tmp_path / "kernel-launchers-0123.jar"
    old.touch()
    compile_into(str(tmp_path), str(java), [])

    assert not old.exists()
    assert len(list(tmp_path.glob("*.jar"))) == 1


def test_a_compiler_that_refuses_the_prelude_is_quoted(java, tmp_path):
    java.write_text("#!/bin/sh\necho 'error: object shell is not a member'; exit 1\n")
    with pytest.raises(JvmFailed, match="can't be compiled by the image's Scala: error: object shell is not a member"):
        compile_into(str(tmp_path), str(java), [])
