import json
import logging

import pytest

from kernel_image_puller.logs import configure_logging, fields


def test_a_value_cannot_pass_for_another_line_or_field(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="INFO", json_lines=False)
    logging.getLogger("kernel_image_puller.x").info("Hello", extra=fields(image="a\nERROR faked image=b", count=3, none=None))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith('INFO    Hello image="a\\nERROR faked image=b" count=3')


def test_json_lines_hold_one_object_each(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="INFO", json_lines=True)
    try:
        int("bad\nthing")
    except ValueError:
        logging.getLogger("kernel_image_puller.x").exception("Failed", extra=fields(image="a"))
    (line,) = capsys.readouterr().err.splitlines()
    document = json.loads(line)
    assert (document["level"], document["message"], document["image"]) == ("error", "Failed", "a")
    assert "ValueError" in document["exception"]


def test_libraries_never_log_at_debug_level(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="DEBUG", json_lines=False)
    logging.getLogger("urllib3.connectionpool").warning("a header")
    logging.getLogger("docker").debug("a header")
    logging.getLogger("kernel_image_puller.x").debug("ours")
    captured = capsys.readouterr().err
    assert "a header" not in captured
    assert "ours" in captured
