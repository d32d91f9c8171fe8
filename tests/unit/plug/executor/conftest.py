"""A journal that can read toys, and an empty world of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from smartvif.plug.journal import Journal
from smartvif.plug.steps import codec
from tests.support.toys import Toy, Toys


@pytest.fixture(scope="module", autouse=True)
def _toys_are_steps() -> Iterator[None]:
    """The journal can read toys."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(codec._KINDS, "Toy", Toy)
        yield


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A fresh one."""
    with contextlib.closing(Journal(tmp_path)) as made:
        yield made


@pytest.fixture
def toys() -> Toys:
    """An empty world."""
    return Toys()
