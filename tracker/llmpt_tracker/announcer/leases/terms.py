"""The figures of leases: how long each thing counts, how much is whose share, and how much is remembered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmpt.core.leases import Poll, Want


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """What the lease book goes by. Times in seconds.

    leases_per_repo: as many files as huggingface_hub fetches at once; the machines that ask for a repo share them
    settling_s: after its start it lends nothing: machines that fetch since before it ask again within a second
    starting_s: within which of its start the first poll counts as the start
    returning_s: for so long after its start what has a torrent is not lent: machines that seed it announce themselves again
    rush_s: after a repo's first want each machine holds one lease of it
    turn_s: for so long a free etag is left to a machine that has had less
    asking_s: a machine that asked for a repo this long ago still has a share of it
    present_s: a machine that polled this long ago still waits
    let_go_s: for so long a file is rather another machine's than the one's that gave it up
    in_vain: of its stall time-out: a machine that asks for so long for what is here could not get it
    published_s: from published to seeded
    fetched_bytes_s: no line to a Hub is faster: a holder that says so is not believed
    finishing_bytes_s: a holder that has every byte still reads them all once, this fast
    judged_s: a holder that has had a lease for so long has shown its pace
    times_faster: a machine whose Hub is so many times as fast as a holder's pace may take the lease
    worth_moving_s: if that one would need so long for the rest
    max_moves: of one file, so that machines that promise too much cannot pass it round
    forgotten_s: what was silent for so long is forgotten
    min_patience_s, max_patience_s: between these a machine's own stall time-out counts
    min_pause_s, max_pause_s: between these a machine is told to ask again
    soonest_s: where a moment is known at which something changes
    polls_per_second: of all machines together
    max_machines, max_lives: in all, and of one token
    max_wants: of one machine; what it wants beyond them waits
    max_held: leases of one machine, over all repos
    max_unlimited: wants and leases of the appliance
    max_leases: in all
    max_remembered: of each thing that is remembered
    """

    leases_per_repo: int = 8
    settling_s: float = 1.5
    starting_s: float = 30.0
    returning_s: float = 6.0
    rush_s: float = 0.5
    turn_s: float = 0.5
    asking_s: float = 10.0
    present_s: float = 3.0
    let_go_s: float = 10.0
    in_vain: float = 0.6
    published_s: float = 5.0
    fetched_bytes_s: int = 1_250_000_000
    finishing_bytes_s: int = 50 << 20
    judged_s: float = 5.0
    times_faster: float = 8.0
    worth_moving_s: float = 60.0
    max_moves: int = 2
    forgotten_s: float = 60.0
    min_patience_s: float = 1.0
    max_patience_s: float = 60.0
    min_pause_s: float = 0.5
    max_pause_s: float = 2.0
    soonest_s: float = 0.05
    polls_per_second: int = 100

    max_machines: int = 2048
    max_lives: int = 16
    max_wants: int = 256
    max_held: int = 64
    max_unlimited: int = 2000
    max_leases: int = 50_000
    max_remembered: int = 10_000

    def considered(self, poll: Poll) -> Sequence[Want]:
        """Return those wants of a poll that can get a lease now."""
        return poll.wants[: self.max_unlimited if poll.unlimited else self.max_wants]

    def share(self, machines: int) -> int:
        """Return how many leases of one repo each of so many machines may hold."""
        return max(1, self.leases_per_repo // max(machines, 1))

    def patience_s(self, stall_timeout_s: float) -> float:
        """Return how long a machine with that stall time-out may be silent, or stand still."""
        return min(max(stall_timeout_s, self.min_patience_s), self.max_patience_s)

    def pause_s(self, machines: int) -> float:
        """Return after how many seconds each of so many machines must ask again."""
        return min(max(self.min_pause_s, machines / self.polls_per_second), self.max_pause_s)
