"""Measure what was not yet measured, and write the report: `make bench-swarm`, or `SCENARIOS="together-4 garbage"` of it.

Each scenario is a process of its own, ended after `LLMPT_BENCH_TIMEOUT` seconds (180), and its figures are kept in
.cache/bench-swarm: a run that was broken off goes on where it was, and `AGAIN=1` forgets them. `LLMPT_BENCH_MIB` is the size of
the repo (64). The report is docs/benchmarks/swarm.md.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from pathlib import Path

from tests.bench.filling import plot
from tests.bench.filling.scenarios import OTHERS, SCALE_MIB, SCENARIOS, TOGETHER, Found, Scenario

ROOT = Path(__file__).parents[3]
KEPT = ROOT / ".cache" / "bench-swarm"
PAGE = ROOT / "docs" / "benchmarks" / "swarm.md"
TIMEOUT_S = int(os.environ.get("LLMPT_BENCH_TIMEOUT", "180"))
BUSY = 0.9  # from here on it is the processors that were measured
HEAD = "| scenario | Mbit/s | median ÷ bound | last ÷ bound | server ÷ F | Hub ÷ F | CPU s per GiB | agent, MiB | busy |"


def main(names: list[str]) -> None:
    if unknown := set(names) - SCENARIOS.keys():
        sys.exit(f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    KEPT.mkdir(parents=True, exist_ok=True)
    for name in names or SCENARIOS:
        if os.environ.get("AGAIN"):
            (KEPT / f"{name}.json").unlink(missing_ok=True)
        if _kept(name) is None:
            _measure(name)
        found = _kept(name)
        print(_row(SCENARIOS[name], found) if found else f"{name}: not measured", flush=True)
    found_all = {name: found for name in SCENARIOS if (found := _kept(name)) is not None}
    if found_all:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(_report(found_all))
        kept = {name: asdict(found) for name, found in found_all.items() if found.busy <= BUSY}
        PAGE.with_name("measured.json").write_text(json.dumps(kept, indent=1) + "\n")
        print(f"written: {PAGE.relative_to(ROOT)}")


def _measure(name: str) -> None:
    environ = os.environ | {"LLMPT_BENCH_SCENARIO": name, "LLMPT_BENCH_OUT": str(KEPT / f"{name}.json")}
    try:
        subprocess.run([sys.executable, "-m", "tests.bench.filling.measure"], env=environ, timeout=TIMEOUT_S, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        print(f"{name}: {error}", file=sys.stderr)


def _kept(name: str) -> Found | None:
    """Return what was measured at this scale."""
    try:
        found = Found(**json.loads((KEPT / f"{name}.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return found if found.scale_mib == SCALE_MIB else None


def _report(found: Mapping[str, Found]) -> str:
    together = [(one.machines, found[one.name]) for one in TOGETHER if one.name in found and found[one.name].busy <= BUSY]
    plots = ""
    if len(together) > 1:
        series = {
            "last of the swarm": [(count, max(one.ratios)) for count, one in together],
            "median": [(count, statistics.median(one.ratios)) for count, one in together],
            "plain HTTP (N · F/u)": [(count, float(count)) for count, _ in together],
        }
        svg = plot.lines("Time ÷ bound, all at the same moment", "machines", series, logarithmic=True)
        PAGE.with_name("together.svg").write_text(svg)
        plots = "![Time of the median and of the last machine ÷ the bound, over the number of machines](together.svg)\n\n"
    rows = "\n".join(_row(SCENARIOS[name], one) for name, one in found.items())
    missing = [one.name for one in (*TOGETHER, *OTHERS) if one.name not in found]
    notes = [f"Not measured in this run: {', '.join(missing)}.\n"] if missing else []
    if (wrong := found.get("garbage")) is not None:
        notes.append(f"*garbage*: the wrong machine sent {wrong.wrong:.2f} × F.\n")
    if (small := found.get("small-files")) is not None:
        notes.append(
            f"*small-files*: the last machine took {max(small.seconds) / small.library_s:.2f} × its time without the hook.\n"
        )
    return f"""# How fast a LAN is filled

Written by `make bench-swarm` ({date.today():%Y-%m-%d}); what is measured stands in
[scenarios.py](../../tests/bench/filling/scenarios.py).

{_machine()} F = {SCALE_MIB} MiB.

The server (tracker, seeder, nginx) and each machine are network namespaces with a cable of their own (veth, `tc tbf`, both ways).
Each machine runs the product as a user does: an agent, and an unmodified `snapshot_download`. u is what TCP carries of a cable:
one machine takes F from the server's nginx over it, in the same run. The bound of a machine, from its own beginning, is
max(F/u_s, F/d, N·F/(u_s + Σu)) for machines that begin together, and F/d for one that comes to others that have the file. In
*background* u_s is what the other machine left. Plain HTTP needs N · F/u_s for all.

{HEAD}
|---|---|---|---|---|---|---|---|---|
{rows}

{plots}{chr(10).join(notes)}
Where more than {BUSY:.0%} of the processors' time was used, no time is told: it would be the processors' and not the LAN's. CPU
is of the agents and the programs together; *agent* is the largest resident size of one.
"""


def _row(scenario: Scenario, found: Found) -> str:
    cables = f"{scenario.mbit}" if scenario.mbit == scenario.server_mbit else f"{scenario.mbit}, server {scenario.server_mbit}"
    times = "the processors were the limit | –"
    if found.busy <= BUSY:
        times = f"{statistics.median(found.ratios):.3f} | {max(found.ratios):.3f}"
    told = f"| {scenario.name}: {scenario.what} | {cables} | {times} | {found.sent:.3f} | {found.hub:.3f} "
    return told + f"| {found.cpu_s_per_gib:.1f} | {found.rss_mib:.0f} | {found.busy:.0%} |"


def _machine() -> str:
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"Linux {platform.release().split('-')[0]}, CPython {platform.python_version()}"
    return f"{os.cpu_count()} processors ({model}), {memory:.0f} GiB, {system}."


if __name__ == "__main__":
    main(sys.argv[1:])
