"""What a database says no with is one error of ours, also where its message cannot be read."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy.exc import OperationalError

from llmpt_tracker.database.sessions import translated
from llmpt_tracker.errors import DatabaseUnavailable

UNREADABLE = UnicodeDecodeError("utf-8", b"malformed \xf3", 10, 11, "invalid start byte")


@pytest.mark.parametrize("error", [sqlite3.DatabaseError("x"), OperationalError("x", {}, Exception()), UNREADABLE])
def test_it_is_unavailable_with_its_own_error_as_the_cause(error: Exception) -> None:
    with pytest.raises(DatabaseUnavailable) as caught, translated():
        raise error
    assert caught.value.__cause__ is error
