import json
import logging

import pytest

from enterprise_gateway.log import configure


def lines(capsys, style, log):
    configure(level=logging.INFO, style=style)
    log(logging.getLogger("enterprise_gateway.test"))
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("style", ["text", "json"])
def test_an_event_is_one_line_whatever_its_fields_hold(capsys, style):
    def log(logger):
        try:
            int("first\nsecond")
        except ValueError:
            logger.exception("Message\nwith an end of line", extra={"user": "a\nINFO forged"})

    assert len(lines(capsys, style, log)) == 1


def test_json_lines_hold_the_fields_as_they_are(capsys):
    (line,) = lines(capsys, "json", lambda logger: logger.info("Kernel started", extra={"kernel_id": "1", "seconds": 0.5}))
    event = json.loads(line)
    assert (event["message"], event["kernel_id"], event["seconds"], event["level"]) == ("Kernel started", "1", 0.5, "info")


def test_text_lines_show_fields_and_quote_those_with_spaces(capsys):
    (line,) = lines(capsys, "text", lambda logger: logger.info("Kernel started", extra={"kernel_id": "1", "cause": "a b"}))
    assert line.endswith('INFO    Kernel started kernel_id=1 cause="a b"')


def test_fields_that_are_not_set_are_left_out(capsys):
    (line,) = lines(capsys, "text", lambda logger: logger.info("Kernel shut down", extra={"cause": None}))
    assert line.endswith("Kernel shut down")
