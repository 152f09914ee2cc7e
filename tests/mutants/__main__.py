"""`python -m tests.mutants [GROUP …]`: change the code in small ways, and say which changes no test noticed."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time

from tests.mutants.changes import Change, changes
from tests.mutants.groups import ROOT, Target, groups
from tests.mutants.running import Run, run

NOTICED = 0.9
MIN_LIMIT_S = 3.0


def main() -> int:
    """Return 0 when the tests of each group noticed nine changes of ten."""
    known = groups()
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"one of {', '.join(known)} (default: all)")
    parser.add_argument("--sample", type=int, default=150, help="changes per group at most (0: all); default 150")
    parser.add_argument("--seed", type=int, default=1, help="of the choice among them; default 1")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, help="test runs side by side")
    given = parser.parse_args()
    unknown = set(given.groups) - set(known)
    if unknown:
        parser.error(f"no such group: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="llmpt-mutants-") as scratch, tempfile.TemporaryFile() as log:
        os.environ |= {"PYTEST_DEBUG_TEMPROOT": scratch, "HF_USE_P2P": "0"}
        weak = [
            name
            for name in given.groups or known
            if not _group(name, known[name], random.Random(given.seed), given.sample, at_once=given.at_once, log=log.fileno())
        ]
    if weak:
        print(f"too much is not noticed in: {', '.join(weak)}")
    return 1 if weak else 0


def _group(name: str, targets: tuple[Target, ...], chance: random.Random, sample: int, *, at_once: int, log: int) -> bool:
    """Try the changes of one group; True when enough of them were noticed."""
    began = time.monotonic()
    made = [(target, change) for target in targets for change in changes((ROOT / target.path).read_text(), chance)]
    chosen = made if not sample or len(made) <= sample else sorted(chance.sample(made, sample), key=_place)
    limits: dict[Target, float] = {}
    for target in dict.fromkeys(target for target, _ in chosen):
        ((_, as_it_is),) = run([Run(target, None, 600)], at_once=1, log=log)
        if as_it_is.noticed:
            print(f"{name}: {' '.join(target.tests)} fails without any change:\n{os.pread(log, 1 << 20, 0).decode()}")
            return False
        limits[target] = MIN_LIMIT_S + 3 * as_it_is.took_s
    noticed = 0
    for number, outcome in run([Run(target, change.code, limits[target]) for target, change in chosen], at_once=at_once, log=log):
        target, change = chosen[number]
        noticed += outcome.noticed
        if not outcome.noticed:
            print(f"  {target.path}:{change.line} {change.kind}\n{change.diff}", flush=True)
    share, took_s = noticed / max(len(chosen), 1), time.monotonic() - began
    print(f"{name}: {noticed} of {len(chosen)} changes noticed ({share:.1%}), of {len(made)} that there are, in {took_s:.0f} s")
    return noticed >= NOTICED * len(chosen)


def _place(one: tuple[Target, Change]) -> tuple[str, int]:
    return one[0].path, one[1].line


if __name__ == "__main__":
    sys.exit(main())
