"""Fixtures of the tests of what people read."""

from __future__ import annotations

import pytest
from example_record import MakeRecord, record_of


@pytest.fixture
def make_record() -> MakeRecord:
    """Makes a finished run of the built-in table."""
    return record_of
