"""A LAN of agents that exists on paper: a clock that is moved, lines to the Hub of given rates, and a swarm that costs nothing.

What is simulated of an agent is what the leases see: it polls when it was told to, with the files that its workers wait for.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from llmpt.core.blob import Etag
from llmpt.core.leases import Ended, FetchProgress, Grant, LeaseOutcome, LeaseRole, Poll, Want
from llmpt.core.repo import RepoRef
from llmpt_tracker.announcer.leases.book import LeaseBook
from llmpt_tracker.control.messages import Owner

STEP_S = 0.05
REPO = RepoRef("model", "org/name")


@dataclass
class Agent:
    """One machine; `rate` bytes per second from the Hub over all its fetches, `workers` files at a time, in order."""

    name: str
    files: list[Want]
    rate: float
    workers: int = 8
    begins_at: float = 0.0
    stall_timeout_s: float = 5.0
    alive: bool = True
    stalls_at: float = float("inf")
    has: set[Etag] = field(default_factory=set)
    fetching: dict[Etag, float] = field(default_factory=dict)
    published: list[Etag] = field(default_factory=list)
    granted: list[Etag] = field(default_factory=list)
    next_poll: float = 0.0
    asked_at: float = float("-inf")
    done_at: float | None = None

    def is_done(self, elapsed: float) -> bool:
        """Say whether it has all, or will never have."""
        return self.done_at is not None or not self.alive or elapsed >= self.stalls_at

    def wants(self) -> list[Want]:
        missing = [file for file in self.files if file.etag not in self.has]
        return [file for file in missing[: self.workers] if file.etag not in self.fetching]


class Lan:
    """`fetches` tells when who began to fetch what, `received` how often each file came from the Hub to its end."""

    def __init__(self, agents: list[Agent]) -> None:
        self.agents, self.leases, self.now = agents, LeaseBook(), 1000.0
        self.in_swarm: set[Etag] = set()
        self.fetches: list[tuple[float, str, Etag]] = []
        self.received: dict[Etag, int] = {}
        self.began = self.now

    @property
    def elapsed(self) -> float:
        return self.now - self.began

    def run(self, *, until_s: float) -> None:
        """Go on until every agent that can has all it wants, or the time is over."""
        while self.elapsed < until_s and not all(agent.is_done(self.elapsed) for agent in self.agents):
            self.step()

    def step(self) -> None:
        self.now += STEP_S
        for agent in self.agents:
            if agent.alive and self.elapsed >= agent.begins_at:
                self._work(agent)
        for agent in self.agents:
            if agent.alive and self.elapsed >= agent.begins_at and self.now >= agent.next_poll:
                self._poll(agent)

    def _check_grant(self, agent: Agent, etag: Etag) -> None:
        """Nobody else who gets on with it fetches the same, and nobody has more than a share."""
        for other in self.agents:
            if other is not agent and etag in other.fetching:
                assert not other.alive or self.elapsed >= other.stalls_at, f"{agent.name} and {other.name} fetch {etag}"
        asking = [one for one in self.agents if self.now - one.asked_at <= 10]
        assert len(agent.fetching) < max(1, 8 // len(asking)), f"{agent.name} of {len(asking)} has {len(agent.fetching)} already"

    def _work(self, agent: Agent) -> None:
        for file in agent.files:
            if file.etag in self.in_swarm and file.etag not in agent.fetching:
                agent.has.add(file.etag)
        for file in agent.files:
            if file.etag in agent.fetching and self.elapsed < agent.stalls_at:
                agent.fetching[file.etag] += agent.rate * STEP_S / len(agent.fetching)
                if agent.fetching[file.etag] >= file.size:
                    del agent.fetching[file.etag]
                    agent.has.add(file.etag)
                    agent.published.append(file.etag)
                    self.in_swarm.add(file.etag)
                    self.received[file.etag] = self.received.get(file.etag, 0) + 1
        if agent.done_at is None and len(agent.has) == len(agent.files):
            agent.done_at = self.elapsed

    def _poll(self, agent: Agent) -> tuple[Grant, ...]:
        answers, pause_s = self.leases.poll(
            Poll(
                machine="life",
                stall_timeout_s=agent.stall_timeout_s,
                wants=tuple(want for want in agent.wants() if want.etag not in self.in_swarm),
                fetching=tuple(FetchProgress(etag, int(done), int(agent.rate)) for etag, done in agent.fetching.items()),
                ended=tuple(Ended(etag, LeaseOutcome.PUBLISHED) for etag in agent.published),
            ),
            Owner(self.agents.index(agent), agent.name),
            now=self.now,
        )
        agent.published.clear()
        if answers or (agent.fetching and self.elapsed < agent.stalls_at):
            agent.asked_at = self.now
        agent.next_poll = self.now + pause_s
        for answer in answers:
            if answer.role is LeaseRole.FETCH:
                self._check_grant(agent, answer.etag)
                agent.fetching[answer.etag] = 0.0
                agent.granted.append(answer.etag)
                self.fetches.append((self.elapsed, agent.name, answer.etag))
        return answers


def files(count: int, size: int) -> list[Want]:
    """Return the files of a repo."""
    return [Want(Etag(f"{index:064x}"), size, REPO) for index in range(count)]
