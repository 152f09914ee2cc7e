"""docs/jobs.md names, for each case that the agent decides, a test that there is."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_row_names_a_test_that_there_is() -> None:
    rows = re.findall(r"^\| .+ \| `(test_\w+)` \|$", (ROOT / "docs/jobs.md").read_text(encoding="utf-8"), re.MULTILINE)
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(rows) > 40
    assert [name for name in rows if f"def {name}(" not in code] == []
