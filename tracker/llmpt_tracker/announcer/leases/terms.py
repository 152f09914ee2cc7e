"""The words and the figures of leases (leases.py): what a machine says and is told, and how much is whose share."""

from __future__ import annotations

from dataclasses import dataclass

LEASES_PER_REPO = 8  # as many files as huggingface_hub fetches at once
RUSH_S = 0.5
TURN_S = 0.5
ASKING_S = 10.0  # who asked for a repo this long ago still has a share of it
PRESENT_S = 3.0
LET_GO_S = 10.0  # for so long a file is rather another machine's than that one's who gave it up
IN_VAIN = 0.6  # of its stall time-out: who asks for so long for what is here could not get it
PUBLISHED_S = 5.0  # from published to seeded
FINISHING_BYTES_S = 50 << 20  # a holder that has every byte still reads them all once
FORGOTTEN_S = 60.0
MIN_PATIENCE_S, MAX_PATIENCE_S = 1.0, 60.0
MIN_PAUSE_S, MAX_PAUSE_S = 0.5, 2.0
SOONEST_S = 0.05  # where a moment is known at which something changes
POLLS_PER_SECOND = 100  # of all machines together

MAX_MACHINES = 2048
MAX_LIVES = 16  # machines of one token
MAX_WANTS = 256  # of one machine; what it wants beyond them waits
MAX_HELD = 64  # leases of one machine, over all repos
MAX_UNLIMITED = 2000
MAX_LEASES = 50_000
MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Want:
    """A file that a machine waits for; `size` in bytes, `repo` as `type/id`."""

    etag: str
    size: int
    repo: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a machine is with a file that it fetches from the Hub."""

    etag: str
    bytes: int
    rate_bytes_s: int


@dataclass(frozen=True, slots=True)
class Poll:
    """All that a machine says at once. `token` and `name` are those of whoever it belongs to; `published` and `failed` are
    the etags that it fetches no more; `unlimited`: the appliance, which needs no share and goes before all others."""

    token: int
    name: str
    machine: str
    stall_timeout_s: float
    wants: tuple[Want, ...] = ()
    fetching: tuple[Progress, ...] = ()
    published: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    unlimited: bool = False

    @property
    def considered(self) -> tuple[Want, ...]:
        """Those wants that can get a lease now."""
        return self.wants[: MAX_UNLIMITED if self.unlimited else MAX_WANTS]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a machine is to do about an etag: `fetch` it, `wait`, or look it up, since it is `here`. `fetcher` is the name of who
    fetches it (None: nobody, as yet; ask again), `bytes` and `rate_bytes_s` how far and how fast."""

    etag: str
    role: str
    fetcher: str | None = None
    bytes: int = 0
    rate_bytes_s: int = 0


def share(machines: int) -> int:
    """Return how many leases of one repo each of so many machines may hold."""
    return max(1, LEASES_PER_REPO // max(machines, 1))


def pause_s(machines: int) -> float:
    """Return after how many seconds each of so many machines shall ask again."""
    return min(max(MIN_PAUSE_S, machines / POLLS_PER_SECOND), MAX_PAUSE_S)
