"""The doctor's round: what one check stumbles over does not end it."""

from __future__ import annotations

import pytest

from llmpt import doctor
from llmpt.core.errors import LlmptError
from llmpt.doctor import FAIL, Context, Finding, examine
from llmpt.doctor.finding import ok


@pytest.mark.parametrize(
    "error", [LlmptError("no"), OSError("no"), ModuleNotFoundError("no"), AttributeError("no"), KeyError("no")]
)
def test_a_check_that_raises_is_a_finding_and_the_next_one_is_made(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(_context: Context) -> Finding:
        raise error

    monkeypatch.setattr(doctor, "CHECKS", {"one": stumble, "two": lambda _context: ok("well")})
    found = dict(examine(Context({})))
    assert found["one"].outcome == FAIL
    assert "no" in found["one"].message
    assert found["one"].remedy
    assert found["two"] == ok("well")
