"""Checks of the agent: does it run and answer, and can others reach it?"""

from __future__ import annotations

from llmpt.core.errors import AgentUnavailable
from llmpt.doctor.context import Context
from llmpt.doctor.finding import Finding, fail, ok, skip, warn
from llmpt.link import paths, versions

_ANEW = "`llmpt agent stop`; the next download starts another"


def running(context: Context) -> Finding:
    """Is there an agent that answers, for this tracker, of this version? When there is none, can one be started?"""
    life, status = context.life, context.life.status
    if status is None:
        if life.failed:
            return fail(f"no agent can be talked to: {life.reason}", f"{_advice(life.reason)}. Its log: {_log(context)}")
        return ok("none runs; the first download starts it")
    if context.settings.tracker is not None and status.get("tracker") != context.settings.tracker:
        return fail(f"the agent uses the tracker {status.get('tracker')}, not yours", _ANEW)
    theirs, ours = str(status.get("version", "")), versions.own_version()
    if theirs != ours:
        return warn(f"it is of llmpt {theirs or 'an earlier version'}, this is {ours}", _ANEW)
    if troubles := status.get("troubles"):
        return warn("; ".join(f"{one['name']} does not work: {one['error']}" for one in troubles), f"its log: {_log(context)}")
    who = f"process {status.get('pid')}, peers on port {status.get('port')}, {len(status.get('seeding', ()))} blobs seeded"
    if life.died:
        return warn(
            f"the last agent had died; another was started just now ({who})", f"if it dies again, see its log: {_log(context)}"
        )
    return ok(who + (", started just now" if life.started else ""))


def _advice(reason: str) -> str:
    if "libtorrent" in reason:
        return "see libtorrent, above"
    if "answer" in reason or "timed out" in reason:
        return "`llmpt agent stop`, and if that does not help end its process"
    return "`llmpt agent run` shows what happens"


def _log(context: Context) -> str:
    try:
        return str(paths.log_path(context.environ))
    except AgentUnavailable as error:
        return str(error)


def sharing(context: Context) -> Finding:
    """Is what this machine fetches from the Hub shared with the others, and fetched once for all?"""
    if context.agent is None:
        return skip("no agent runs")
    why_not = dict(context.agent.get("sharing") or {}).get("why_not")
    if why_not is None:
        return skip("the agent is too old to say")
    return ok(f"not by this machine: {why_not}" if why_not else "what is public and on no machine is fetched once, for all")


def peer_port(context: Context) -> Finding:
    """Can others connect to this machine's agent? The tracker tries."""
    if context.agent is None:
        return skip("no agent runs, so nothing listens yet")
    if context.whoami is None:
        return skip("the tracker cannot be asked, or is too old to tell")
    address, port, reachable = context.whoami.address, context.agent.get("port"), context.whoami.reachable
    if reachable is None:
        return skip(f"the tracker cannot say whether {address} port {port} is reachable")
    if not reachable:
        return warn(
            f"others cannot connect to {address} port {port}: this machine serves only those that it connects to itself",
            f"open TCP {port} in this machine's firewall (set LLMPT_PEER_PORT for a fixed one)",
        )
    return ok(f"others reach {address} port {port}")
