"""Run the model where there are no machines to measure, and write docs/benchmarks/at-scale.md: `make bench-scale`."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tests.bench.filling import plot
from tests.bench.filling.model import Filled, Lan, fill
from tests.bench.filling.scenarios import TOGETHER, Found

ROOT = Path(__file__).parents[3]
MEASURED = ROOT / "docs" / "benchmarks" / "measured.json"
PAGE = ROOT / "docs" / "benchmarks" / "at-scale.md"
SIZES = (2, 4, 8, 16, 32, 128, 500, 2000)
SEEDED_ALIKE = 128  # machines; a larger swarm takes long to model
MANY = Lan(128)
ISLANDS = Lan(128, subnet=16)


def main() -> None:
    sizes = {count: _told(_filled(Lan(count))) for count in SIZES}
    seeders = [(count, _filled(replace(MANY, seeders=count))) for count in (1, 2, 8)]
    named = [(count, _filled(replace(MANY, named=count))) for count in (5, 10, 20, 50, 100)]
    subnets = [
        (uplink, near, _filled(replace(ISLANDS, uplink=uplink, near=near))) for uplink in (1, 2, 4) for near in (0.0, 0.9, 1.0)
    ]
    measured = _measured()
    series = {"model, last machine": [(float(count), found.last) for count, found in sizes.items()]}
    series |= {"measured, last machine": measured} if measured else {}
    _draw("at-scale.svg", "Time ÷ bound, all at the same moment", "machines", series)
    _draw("named.svg", "128 machines: time ÷ bound", "others named to each", {"last": [(float(n), one.last) for n, one in named]})
    by_near = {
        f"{near:.0%} of its subnet": [(float(uplink), one.last) for uplink, its, one in subnets if its == near]
        for near in (0.0, 0.9, 1.0)
    }
    _draw("subnets.svg", "128 machines in subnets of 16: time ÷ (F/u)", "uplink, in cables", by_near)
    PAGE.write_text(
        PAGE_TEXT.format(
            parts=Lan(2).parts,
            sizes=_table("machines | median | last | seeder ÷ F", ((f"{count}", one) for count, one in sizes.items())),
            measured=_beside(measured),
            seeders=_table("seeders | median | last | seeders ÷ F", ((f"{count}", one) for count, one in seeders)),
            named=_table("named | median | last | seeder ÷ F", ((f"{count}", one) for count, one in named)),
            subnets=_subnets(subnets),
        )
    )
    print(f"written: {PAGE.relative_to(ROOT)}")


def _filled(lan: Lan) -> Filled:
    """Of three swarms the one whose last machine is neither the soonest nor the latest; of large ones there is one only."""
    if lan.machines > SEEDED_ALIKE:
        return fill(lan)
    return sorted((fill(lan, seed=seed) for seed in (1, 2, 3)), key=lambda one: one.last)[1]


def _told(found: Filled) -> Filled:
    print(f"{len(found.times):>6} machines: {found.last:.3f}", flush=True)
    return found


def _measured() -> list[tuple[float, float]]:
    """What docs/benchmarks/swarm.md tells of machines that began together."""
    if not MEASURED.exists():
        return []
    found = {name: Found(**one) for name, one in json.loads(MEASURED.read_text()).items()}
    return [(float(one.machines), max(found[one.name].ratios)) for one in TOGETHER[1:] if one.name in found]


def _beside(measured: list[tuple[float, float]]) -> str:
    if not measured:
        return (
            "**Not calibrated**: where the [swarm](swarm.md) was measured last the processors were the limit, so there is no\n"
            "figure to hold the model against. `make bench-swarm` on an idle machine, then `make bench-scale`, mends that."
        )
    told = ", ".join(f"{ratio:.3f} (N = {count:g})" for count, ratio in measured)
    return f"Measured ([swarm](swarm.md)), the last machine: {told}. Where the model differs, that counts."


def _draw(name: str, title: str, across: str, series: dict[str, list[tuple[float, float]]]) -> None:
    PAGE.with_name(name).write_text(plot.lines(title, across, series))


def _table(head: str, rows: Iterable[tuple[str, Filled]]) -> str:
    told = [f"| {head} |", "|---|---|---|---|"]
    told += [f"| {name} | {statistics.median(one.times):.3f} | {one.last:.3f} | {one.sent:.3f} |" for name, one in rows]
    return "\n".join(told)


def _subnets(rows: Iterable[tuple[int, float, Filled]]) -> str:
    told = ["| uplink, in cables | of the own subnet | median | last | into each subnet ÷ F |", "|---|---|---|---|---|"]
    for uplink, near, one in rows:
        told.append(f"| {uplink} | {near:.0%} | {statistics.median(one.times):.3f} | {one.last:.3f} | {one.crossed:.2f} |")
    return "\n".join(told)


PAGE_TEXT = """# How fast a large LAN would be filled: a model

Written by `make bench-scale`. **Nothing on this page was measured but what is said to be**: the rest is a program of events
([model.py](../../tests/bench/filling/model.py)). A file has {parts} parts. Each machine sends two at once and takes two, each
at half its cable's rate, and passes a part on when it is whole; a seeder sends each part once before it sends one twice. Time
is in F/u, which is the bound with equal cables, whatever the number of machines. Up to 128 machines the middle one of three
swarms is told, of more machines one swarm.

## How many machines

{sizes}

{measured}

![Time of the last machine ÷ the bound, over the number of machines](at-scale.svg)

The model knows neither TCP nor the time to begin; its parts are larger than the pieces of a real torrent, which makes it slower
than a real swarm may be. What it says is how the time *grows*.

## How many seeders, for 128 machines

{seeders}

With equal cables the bound does not fall with more seeders: each machine's own cable holds it.

## How many others the tracker names, for 128 machines

{named}

![Time of the last of 128 machines ÷ the bound, over how many others the tracker names to each](named.svg)

## Subnets behind shared uplinks

128 machines in 8 subnets of 16, one seeder in the first. Of the 50 others that the tracker names to each machine, a share is of
its own subnet (0 %: any).

{subnets}

![Time of the last machine, over the uplink's rate, for three ways to name others](subnets.svg)

## What this says of the tracker

No more than the model's rules bring about: a machine takes a part of any other that it knows, in whichever subnet that is, and
one swarm differs from the next by some hundredths.

* More others named, or more seeders, change little with equal cables: what the tables show beyond that is chance.
* To name others of the own subnet alone is the worst answer where the seeder is in another one: its one cable feeds every subnet,
  and the uplinks lie idle. Naming most of it from there does not spare the uplinks; asking the own subnet first would.
"""


if __name__ == "__main__":
    main()
