"""What the views share, built once by `create_app` and reached through the running application."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from flask import Flask, current_app

from llmpt.core.browsers import HostNames
from llmpt.host.routes import HostNetwork
from llmpt_tracker.clock import Clock
from llmpt_tracker.control.client import Announcer
from llmpt_tracker.control.messages import BlobAddress
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.figures import Figures
from llmpt_tracker.holdings import HoldingsDigests
from llmpt_tracker.hub_rights import HubRights
from llmpt_tracker.identity import Identity
from llmpt_tracker.limits import Limits
from llmpt_tracker.metrics import RequestMetrics
from llmpt_tracker.notes import Notes
from llmpt_tracker.read_keys import ReadKeys
from llmpt_tracker.rules.catalogue.metainfo_texts import MetainfoTexts
from llmpt_tracker.rules.hub.learning import Learning
from llmpt_tracker.rules.hub.spelling import Spelling
from llmpt_tracker.rules.hub.upstream import Upstream
from llmpt_tracker.rules.reading import GrantedRepos
from llmpt_tracker.seats import Seats
from llmpt_tracker.settings import TrackerSettings
from llmpt_tracker.waiting import Waiting

_KEY = "llmpt"


class BlobLocations(Protocol):
    """Where the bytes of a blob can be had over HTTP."""

    def locate(self, etag: str, *, asker: str, host_as_asked: str, may_serve: Callable[[BlobAddress], bool]) -> str | None:
        """Return a URL at which this asker gets them, at a server that may serve them and has just said so; None: none has them.
        Raises `SeedersBusy`."""

    def has(self, etag: str, *, may_serve: Callable[[BlobAddress], bool]) -> bool:
        """Say whether a server that may serve them has them. Raises `SeedersBusy`."""

    def knock(self) -> None:
        """Have our seeders look at what there is to do for them."""


@dataclass(frozen=True)
class State:
    """The settings, the clock (aware, UTC), the two things that hold data, the networks that this host is on, where bytes are,
    the Hub behind this one if a seeder fetches from one, when it was asked for what, how repos are written here, how many
    requests do what at once, this server's key and names, the keys of its readers if reading takes a token, what tokens of the
    Hub are good for, what is here on whose word, what is written down in a while, metainfo that was asked for, which repos
    readers may read, what is counted of requests, figures over all there is, where announces go, by boot id."""

    settings: TrackerSettings
    clock: Clock
    database: Database
    announcer: Announcer
    network: HostNetwork
    blobs: BlobLocations
    behind: Upstream
    limits: Limits
    waiting: Waiting
    seats: Seats
    notes: Notes
    identity: Identity
    names: HostNames
    read_keys: ReadKeys | None = None
    hub_rights: HubRights | None = None
    learning: Learning = field(default_factory=Learning)
    spelling: Spelling = field(default_factory=Spelling)
    holdings: HoldingsDigests = field(default_factory=HoldingsDigests)
    metainfo_texts: MetainfoTexts = field(default_factory=MetainfoTexts)
    granted: GrantedRepos = field(default_factory=GrantedRepos)
    metrics: RequestMetrics = field(default_factory=RequestMetrics)
    figures: Figures = field(default_factory=Figures)

    ports: dict[str, int] = field(default_factory=dict)

    def announce_port(self, boot_id: str) -> int:
        """Return the port of announces, which stays the same for one life of the announcer. Raises `AnnouncerUnavailable`."""
        port = self.ports.get(boot_id, 0)
        if not port:
            status = self.announcer.status()
            port = status.announce_port
            self.ports.clear()
            self.ports[status.boot_id] = port
        return port

    @property
    def upstream(self) -> Upstream | None:
        """The Hub behind this one; None while no seeder fetches from one."""
        return None if self.behind.address is None else self.behind


def attach(app: Flask, state: State) -> None:
    """Give `app` its state."""
    app.extensions[_KEY] = state


def state() -> State:
    """Return the state of the application that is handling this request."""
    found: State = current_app.extensions[_KEY]
    return found
