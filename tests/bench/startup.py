"""What llmpt adds to the start of a Python that never downloads: CPU time of many starts, and instructions, which don't waver.

Two environments differ in llmpt.pth alone; the package lies in both. One program imports nothing, the other one an empty
module: whoever imports anything at all pays for a first look into site-packages, with or without us. The bar is 0.5 ms.
"""

from __future__ import annotations

import os
import shlex
import shutil
import statistics
import subprocess
import tempfile
import venv
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.support.machine import quiet_environment

ROOT = Path(__file__).parents[2]
STARTS = 150
PROGRAMS = ("pass", "import other")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="llmpt-bench-") as scratch:
        pythons = {name: _environment(Path(scratch) / name, with_pth=name == "with") for name in ("without", "with")}
        for program in PROGRAMS:
            Console(width=130).print(_table(pythons, ["-I", "-c", program]))


def _environment(root: Path, *, with_pth: bool) -> Path:
    venv.create(root, symlinks=True, with_pip=False)
    [site] = (root / "lib").glob("python*/site-packages")
    shutil.copytree(ROOT / "client" / "llmpt", site / "llmpt", ignore=shutil.ignore_patterns("__pycache__"))
    (site / "other.py").touch()
    if with_pth:
        shutil.copy(ROOT / "client" / "llmpt.pth", site)
    return root / "bin" / "python"


def _table(pythons: dict[str, Path], program: list[str]) -> Table:
    cpu_ms: dict[str, list[float]] = {name: [] for name in pythons}
    for number in range(STARTS):
        for name in sorted(pythons, reverse=bool(number % 2)):
            used = _cpu_ms([str(pythons[name]), *program])
            if number:  # the first one compiles
                cpu_ms[name].append(used)
    table = Table("measure", "without", "with", "added", title=f"python {shlex.join(program)}, {STARTS} starts each")
    median = [statistics.median(cpu_ms[name]) for name in ("without", "with")]
    least = [min(cpu_ms[name]) for name in ("without", "with")]
    for label, (without, with_pth) in (("CPU ms, median", median), ("CPU ms, least", least)):
        table.add_row(label, f"{without:.3f}", f"{with_pth:.3f}", f"{with_pth - without:+.3f}")
    without, with_pth = (_instructions([str(pythons[name]), *program]) for name in ("without", "with"))
    if without and with_pth:
        table.add_row("M instructions", f"{without / 1e6:.2f}", f"{with_pth / 1e6:.2f}", f"{(with_pth - without) / 1e6:+.2f}")
        table.add_row("... as CPU ms", "", "", f"{least[0] * (with_pth / without - 1):+.3f}")
    else:
        table.add_row("instructions", "neither perf", "nor callgrind", "counts here")
    return table


def _cpu_ms(command: list[str]) -> float:
    pid = os.posix_spawn(command[0], command, quiet_environment())
    _, status, usage = os.wait4(pid, 0)
    assert status == 0, command
    return 1000 * (usage.ru_utime + usage.ru_stime)


def _instructions(start: list[str]) -> float:
    """Instructions of one start in user space, by perf or, where the machine has no counters, by callgrind; 0 without both."""
    if shutil.which("perf"):
        asked = subprocess.run(
            ["perf", "stat", "-x,", "-r", "20", "-e", "instructions:u", *start], capture_output=True, text=True, timeout=30
        )
        counted = asked.stderr.partition(",")[0]
        if asked.returncode == 0 and counted.strip().isdigit():
            return float(counted)
    if shutil.which("valgrind"):
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *start]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        for line in asked.stderr.splitlines():
            if "Collected :" in line:
                return float(line.rpartition(":")[2])
    return 0


if __name__ == "__main__":
    main()
