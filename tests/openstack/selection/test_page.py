"""The page on choosing tells the differences from Nova that are tested, and no others."""

from __future__ import annotations

import re

from tests.support.checkout import CHECKOUT
from tests.support.nova import requests, selection

DOC = CHECKOUT / "docs/reference/choosing.md"


def test_the_pages_differences_are_these() -> None:
    """Each is compared in one of the two files, and none is compared unsaid."""
    rows = DOC.read_text().split("## Deliberate differences from Nova 34\n")[1]
    told = re.findall(r"^\| `([a-z-]+)` \|", rows, re.MULTILINE)
    asked = {each.id for each in (*requests.DIFFERENCES, *requests.BLIND)}
    assert sorted(told) == sorted(asked | selection.DIFFERENCES.keys())
