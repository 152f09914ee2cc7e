"""Checks of what lies between this machine and the others: firewall, address translation, proxies."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from llmpt.core.networks import CidrSet, parse_address
from llmpt.doctor.context import Context
from llmpt.doctor.finding import Finding, fail, ok, skip, warn
from llmpt.host.routes import HostNetwork, address_towards
from llmpt.net.connecting import connect
from llmpt.net.names import NAMES

CONNECT_TIMEOUT_S = 2.0
NAME_S = 5.0
_PROXY_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def firewall(context: Context) -> Finding:
    """Does the agent's port answer at this machine's own LAN address?"""
    if context.agent is None or context.client is None:
        return skip("no agent runs")
    own, port = address_towards(context.client.host, context.client.port), int(context.agent.get("port", 0))
    if own is None:
        return fail(f"there is no route to {context.client.host}", "look at this machine's network")
    try:
        connect(str(own), port, wait_s=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        said = error.strerror or str(error)
        remedy = (
            f"open TCP {port}: `sudo ufw allow {port}/tcp`, or `sudo firewall-cmd --add-port={port}/tcp`; look at LLMPT_BIND, too"
        )
        return warn(f"{own} port {port} does not accept connections from this machine itself: {said}", remedy)
    return ok(f"{own} port {port} accepts connections")


def nat(context: Context) -> Finding:
    """Does the tracker see this machine under its own address?"""
    if context.client is None or context.whoami is None:
        return skip("the tracker cannot be asked how it sees us")
    own = address_towards(context.client.host, context.client.port)
    try:
        seen = parse_address(context.whoami.address)
    except ValueError:
        return skip(f"the tracker sees us as {context.whoami.address!r}")
    if own is None or own == seen:
        return ok(f"the tracker sees this machine as {seen}, which it is")
    what = f"the tracker sees {seen}, and this machine's address is {own}: others cannot connect to it"
    if in_wsl(context.proc):
        return warn(what + " (WSL2)", "put `networkingMode=mirrored` under [wsl2] into .wslconfig, then `wsl --shutdown`")
    if own.is_loopback:
        return warn(what, "name the tracker by this machine's address on the LAN: `llmpt join http://<that address>:8000`")
    if HostNetwork.read().in_container:
        return warn(what + " (a container)", "give the container the host's network: `--network host`")
    return warn(what, "it downloads all the same; to serve others it needs an address that they can reach")


def in_wsl(proc: Path) -> bool:
    try:
        return "microsoft" in (proc / "version").read_text().lower()
    except OSError:
        return False


def proxies(context: Context) -> Finding:
    """Is a proxy set that would be asked for the server? (We ignore proxies; huggingface_hub with HF_ENDPOINT does not.)"""
    environ = {name.upper(): text for name, text in context.environ.items() if text.strip()}
    found = [name for name in _PROXY_NAMES if name in environ]
    if not found:
        return ok("none set")
    endpoint = environ.get("HF_ENDPOINT", "")
    host = urlsplit(endpoint).hostname if endpoint else None
    if host and _on_lan(context, host) and not _bypassed(host, environ.get("NO_PROXY", "")):
        return fail(
            f"{', '.join(found)}: huggingface_hub would ask the proxy for {endpoint}, which is on the LAN",
            f"add {host} to NO_PROXY: export NO_PROXY={','.join(filter(None, (environ.get('NO_PROXY'), host)))}",
        )
    return ok(f"{', '.join(found)}; llmpt's own traffic on the LAN ignores it")


def _on_lan(context: Context, host: str) -> bool:
    """Whether `host` is the tracker, or an address that may talk to us."""
    if context.client is not None and host == context.client.host:
        return True
    try:
        places = NAMES.places(host, 0, wait_s=NAME_S)
        return any(parse_address(place.address[0]) in context.settings.peer_cidrs for place in places)
    except (OSError, ValueError):
        return False


def _bypassed(host: str, no_proxy: str) -> bool:
    """Whether NO_PROXY (names, domains, addresses, networks, `*`) covers `host`."""
    for entry in filter(None, (item.strip().lstrip(".").lower() for item in no_proxy.split(","))):
        name = entry.rpartition(":")[0] if entry.count(":") == 1 else entry
        if entry == "*" or host == name or host.endswith("." + name):
            return True
        try:
            if parse_address(host) in CidrSet.parse(entry):
                return True
        except ValueError:
            continue
    return False
