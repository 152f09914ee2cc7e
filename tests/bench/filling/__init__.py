"""How fast a LAN is filled, in many ways, as a report with plots: `make bench-swarm` (docs/benchmarks)."""
