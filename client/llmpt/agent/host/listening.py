"""Where the agent listens, looked at again now and then: networks come and go, and tunnels above all."""

from __future__ import annotations

import logging
from collections.abc import Callable

from llmpt.agent.host.interfaces import Interface, announced_address, listen_addresses, read_interfaces
from llmpt.core.errors import SettingError
from llmpt.core.networks import Address
from llmpt.host.routes import address_towards
from llmpt.settings import ClientSettings

log = logging.getLogger("llmpt.agent")

LOOK_UP_S = 5.0


class Listening:
    """The addresses to listen on, and the one to announce. Raises `SettingError` when a chosen network is not there.

    The tracker's name is looked up by `changed` only: a name server may take its time, and an agent that starts has none.
    """

    def __init__(
        self,
        settings: ClientSettings,
        *,
        tracker: tuple[str, int],
        read: Callable[[], tuple[Interface, ...]] = read_interfaces,
    ) -> None:
        """`tracker` is its host and port."""
        self._settings, self._tracker, self._read = settings, tracker, read
        self.hosts, self.announced = self._look(wait_s=0)

    def changed(self) -> bool:
        """Look again; True when it is other addresses now. A chosen network that has gone may come back: nothing changes."""
        try:
            found = self._look(wait_s=LOOK_UP_S)
        except SettingError as error:
            log.debug("%s", error)
            return False
        if found == (self.hosts, self.announced):
            return False
        self.hosts, self.announced = found
        log.info("listening on %s from now on", ", ".join(self.hosts))
        return True

    def _look(self, *, wait_s: float) -> tuple[tuple[str, ...], Address | None]:
        hosts = listen_addresses(self._settings.bind, self._settings.interface, self._read())
        return hosts, announced_address(address_towards(*self._tracker, wait_s=wait_s), hosts)
