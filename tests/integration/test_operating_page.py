"""docs/operating.md: what it says of kernels' pods is what they get."""

from __future__ import annotations

import re
from pathlib import Path

from enterprise_gateway.launch.pod import AUTOSCALER_ANNOTATIONS

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()


def test_the_annotations_for_autoscalers_are_those_of_a_kernels_pod():
    rows = re.findall(r"^\| [\w ]+ \| `([^`:]+): \"(\w+)\"` \|", PAGE, re.MULTILINE)

    assert dict(rows) == dict(AUTOSCALER_ANNOTATIONS)
