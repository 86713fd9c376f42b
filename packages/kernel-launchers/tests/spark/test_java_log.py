import os

from kernel_launchers.spark.session import JavaLog


def test_what_java_writes_goes_to_the_pods_log_and_the_last_exception_is_the_cause(tmp_path):
    with (tmp_path / "log").open("wb") as file:
        log = JavaLog(file.fileno())
        os.write(
            log.descriptor,
            b'WARNING: modules\nException in thread "main" java.io.IOException: no room\n\tat x.Error(y)\nlast words\n',
        )
        log.close()
        assert log.cause() == "java.io.IOException: no room"
    assert (tmp_path / "log").read_text().startswith("WARNING: modules\n")
