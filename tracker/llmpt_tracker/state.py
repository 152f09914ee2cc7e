"""What the views share, built once by `create_app` and reached through the running application."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Flask, current_app

from llmpt.core.networks import HostNetwork
from llmpt_tracker.announcer_client import Announcer
from llmpt_tracker.clock import Clock
from llmpt_tracker.database import Database
from llmpt_tracker.settings import TrackerSettings

_KEY = "llmpt"


@dataclass(frozen=True)
class State:
    """The settings, the clock (aware, UTC), the two things that hold data, and the networks that this host is on."""

    settings: TrackerSettings
    clock: Clock
    database: Database
    announcer: Announcer
    network: HostNetwork


def attach(app: Flask, state: State) -> None:
    """Give `app` its state."""
    app.extensions[_KEY] = state


def state() -> State:
    """Return the state of the application that is handling this request."""
    found: State = current_app.extensions[_KEY]
    return found
