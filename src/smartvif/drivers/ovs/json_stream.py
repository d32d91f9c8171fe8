"""JSON objects that follow each other without a separator, cut apart as they arrive."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

# What changes how deep in objects the text is: a brace, but not within a string.
_MARK = re.compile(rb'\\.|["{}]', re.DOTALL)


class JsonStream:
    """Takes bytes in any portions and gives each object as soon as it is whole.

    Linear in the number of bytes, however long an object is.
    """

    def __init__(self) -> None:
        self._text = bytearray()
        self._looked = 0
        self._depth = 0
        self._in_string = False

    def feed(self, data: bytes) -> Iterator[Any]:
        """Take ``data`` and give what it completes.

        Raises: ValueError, where it is not JSON.
        """
        self._text += data
        while (end := self._end()) is not None:
            message = json.loads(self._text[:end])
            del self._text[:end]
            self._looked = 0
            yield message

    def _end(self) -> int | None:
        """Where the first object ends, if it is whole."""
        for mark in _MARK.finditer(self._text, self._looked):
            self._looked = mark.end()
            if mark[0] == b'"':
                self._in_string = not self._in_string
            elif not self._in_string and mark[0] in b"{}":
                self._depth += 1 if mark[0] == b"{" else -1
                if self._depth <= 0:
                    self._depth = 0
                    return mark.end()
        # A backslash at the very end that no mark covers is looked at again with what it escapes.
        halved = self._looked < len(self._text) and self._text.endswith(b"\\")
        self._looked = len(self._text) - halved
        return None
