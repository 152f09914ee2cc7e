"""What the checks look at. What costs time (the agent, the tracker) is asked once, when the first check wants it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from llmpt.core.errors import AgentUnavailable, SettingError, TrackerError
from llmpt.core.settings import hub_cache, load
from llmpt.core.settings import path as expanded
from llmpt.doctor.probe import Probe
from llmpt.identity.gate import joined
from llmpt.link import paths
from llmpt.link.client import AgentClient
from llmpt.link.fields import Message
from llmpt.settings import ClientSettings
from llmpt.settings.sources import origins
from llmpt.tracker.catalogue import Catalogue, WhoAmI
from llmpt.tracker.client import TrackerClient

NO_AGENT = "no agent is running"


@dataclass(frozen=True, slots=True)
class Life:
    """The agent, or why there is none.

    `status`: what the agent says of itself; None when no agent answers.
    `reason`: why no agent answers.
    `started`: the doctor has started it just now.
    `died`: an earlier agent left its socket.
    `failed`: there should be an agent that answers.
    """

    status: Message | None
    reason: str = ""
    started: bool = False
    died: bool = False
    failed: bool = False


class Context:
    """One machine and user, as their environment `environ` and the kernel's `proc` describe them."""

    def __init__(self, environ: Mapping[str, str], *, proc: Path = Path("/proc")) -> None:
        self.environ = environ
        self.proc = proc

    @cached_property
    def setting_error(self) -> SettingError | None:
        """What is wrong with the settings; None: nothing."""
        try:
            ClientSettings.read(self.environ)
        except SettingError as error:
            return error
        return None

    @cached_property
    def settings(self) -> ClientSettings:
        """The settings; those that cannot be used have their defaults, so that the other checks can go on."""
        try:
            usable = {one.name: one.text for one in origins(ClientSettings, self.environ) if not one.problem}
        except SettingError:  # a config file that is not TOML
            usable = {}
        return load(ClientSettings, usable)

    @cached_property
    def client(self) -> TrackerClient | None:
        url = self.settings.tracker
        return None if url is None else joined(url, self.settings.ca, self.environ, token=self.settings.token)

    @cached_property
    def probe(self) -> Probe | None:
        """How the tracker answered; None when none is set."""
        return None if self.client is None else Probe.of(self.client.url, trust=self.client.trust)

    @cached_property
    def whoami(self) -> WhoAmI | None:
        """How the tracker sees us and our agent's port; None when it cannot be asked."""
        if self.client is None or self.probe is None or not self.probe.well:
            return None
        try:
            return Catalogue(self.client).whoami(int(self.agent["port"]) if self.agent else None)
        except (TrackerError, KeyError, ValueError):
            return None

    @cached_property
    def link(self) -> AgentClient:
        return AgentClient(self.settings, environ=self.environ)

    @cached_property
    def life(self) -> Life:
        """The agent; when none runs and the tracker is well one is started, as the first download would."""
        try:
            return Life(self.link.status())
        except AgentUnavailable as error:
            found = str(error)
        try:
            died = found == NO_AGENT and paths.socket_path(self.environ).exists()
            if found == NO_AGENT and self.probe is not None and self.probe.well:
                return Life(self.link.status(start=True), started=True, died=died)
        except AgentUnavailable as error:
            return Life(None, str(error), failed=True)
        return Life(None, found, died=died, failed=found != NO_AGENT)

    @property
    def agent(self) -> Message | None:
        """What the agent says of itself; None when none answers."""
        return self.life.status

    @property
    def cache(self) -> Path:
        """The Hub cache, as huggingface_hub finds it."""
        return expanded(hub_cache(self.environ))
