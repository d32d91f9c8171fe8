"""A JSON document: as it is printed for people and programs, or was read."""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, Any]
"""A JSON object. Only what writes or reads the document looks into it."""
