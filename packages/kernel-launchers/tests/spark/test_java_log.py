import os

import pytest

from kernel_launchers.spark.java_log import JavaLog
from kernel_launchers.spark.java_words import last_exception


def test_what_java_writes_goes_to_the_pods_log_and_the_last_exception_is_the_cause(tmp_path):
    with (tmp_path / "log").open("wb") as file:
        log = JavaLog(file.fileno())
        descriptor = log.open()
        os.write(
            descriptor,
            b'WARNING: modules\nException in thread "main" java.io.IOException: no room\n\tat x.Error(y)\nlast words\n',
        )
        os.close(descriptor)
        assert log.cause() == "java.io.IOException: no room"
    assert (tmp_path / "log").read_text().startswith("WARNING: modules\n")


def test_what_the_jvm_before_has_written_is_no_cause(tmp_path):
    with (tmp_path / "log").open("wb") as file:
        log = JavaLog(file.fileno())
        first = log.open()
        os.write(first, b"java.io.IOException: no room\n")
        os.close(first)
        assert log.cause()
        os.close(log.open())
        assert log.cause() == ""


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ('Exception in thread "main" a.b.WrongException: no', "a.b.WrongException: no"),
        ("2026-01-02 03:04:05 WARN Allocator: a.KubernetesClientException: quota", "a.KubernetesClientException: quota"),
        ("\tat a.Exception.main(x)", ""),
        ("WARNING: all is well", ""),
    ],
)
def test_an_exception_is_told_without_the_words_around_it(line, cause):
    assert last_exception(["first", line, "last"]) == cause
