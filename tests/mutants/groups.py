"""What is changed, and which tests must notice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("client", "tracker", "seeder")


@dataclass(frozen=True)
class Target:
    """One module (`path`, from the root) and the `tests` that concern it."""

    path: str
    tests: tuple[str, ...]

    @property
    def module(self) -> str:
        """The name under which it is imported."""
        return ".".join(Path(self.path).with_suffix("").parts[1:])


def _each(folder: str, tests: str) -> Iterator[Target]:
    """Every module of `folder`, with the test file of its name under `tests`, or all of them where there is none."""
    for path in sorted((ROOT / folder).glob("*.py")):
        if path.stem != "__init__":
            own = f"{tests}/test_{path.stem}.py"
            yield Target(str(path.relative_to(ROOT)), (own if (ROOT / own).exists() else tests,))


def groups() -> dict[str, tuple[Target, ...]]:
    """Return what is changed, by group."""
    transfer, its_tests = "client/llmpt/agent/transfer", "tests/unit/client/agent/transfer"
    return {
        "decision": tuple(Target(f"{transfer}/{name}.py", (f"{its_tests}/test_decision.py",)) for name in ("decision", "state")),
        "hand-over": tuple(
            Target(f"{transfer}/{name}.py", tuple(f"{its_tests}/test_{one}.py" for one in tests))
            for name, tests in (
                ("subscribers", ("subscribers",)),
                ("leeching", ("job",)),
                ("work", ("job", "waiting")),
            )
        ),
        "core": tuple(_each("client/llmpt/core", "tests/unit/client/core")),
        "prefix": (Target("client/llmpt/disk/prefix.py", ("tests/unit/client/disk/test_prefix.py",)),),
        "leases": tuple(_each("tracker/llmpt_tracker/announcer/leases", "tests/unit/tracker/announcer/leases")),
    }
