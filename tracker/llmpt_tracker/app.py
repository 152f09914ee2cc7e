"""The application's composition root.

`create_app` builds it from what it is given; `wsgi` is what gunicorn loads: it reads the environment that the parent made.
"""

from __future__ import annotations

from functools import partial

from flask import Flask

from llmpt.core.errors import SettingError
from llmpt.core.metainfo import MAX_PUBLISH_BYTES
from llmpt.host.certificate import Certificate
from llmpt.host.logs import log_to_stderr
from llmpt.host.own_names import own_names
from llmpt.host.routes import HostNetwork
from llmpt_tracker.blob_servers import BlobServers
from llmpt_tracker.clock import Clock, utc_now
from llmpt_tracker.control.client import Announcer, AnnouncerClient
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.hub_rights import HubRights
from llmpt_tracker.identity import Identity
from llmpt_tracker.limits import Limits
from llmpt_tracker.mirrored_upstream import Bounds, MirroredUpstream, Patience
from llmpt_tracker.notes import Notes
from llmpt_tracker.questions import Questions
from llmpt_tracker.read_keys import ReadKeys
from llmpt_tracker.rules.hub.learning import Learning, LearningTimings
from llmpt_tracker.rules.hub.upstream import Upstream
from llmpt_tracker.seats import Seats
from llmpt_tracker.settings import CONTROL_SOCKET, TrackerSettings
from llmpt_tracker.state import BlobLocations, State, attach
from llmpt_tracker.upstream_address import UpstreamAddress
from llmpt_tracker.views import (
    access,
    api_docs,
    clients,
    dist,
    errors,
    health,
    leases,
    lookups,
    metrics,
    mirrors,
    openapi,
    pages,
    publishing,
    readers,
    reports,
    repos,
    request_ids,
    torrents,
    traffic,
    versions,
    visibility,
)
from llmpt_tracker.views import blobs as blob_views
from llmpt_tracker.views import identity as identity_views
from llmpt_tracker.views import tokens as token_views
from llmpt_tracker.views.forwarded import Forwarded
from llmpt_tracker.views.hub import routes as hub
from llmpt_tracker.views.hub.request import spell_as_here
from llmpt_tracker.waiting import Waiting

TOO_MANY_WAIT = "as many requests wait for upstream as may: others were told to come back (503), or sent to upstream itself"
ASKED_FOR_MUCH = "machines asked for more that is not on this LAN than may be: they were told to come back (429)"
ALL_SEATS_TAKEN = "as many requests are answered at once as may be: others were told to come back (503)"


def create_app(
    settings: TrackerSettings,
    clock: Clock,
    announcer: Announcer,
    network: HostNetwork | None = None,
    *,
    blobs: BlobLocations | None = None,
    upstream: Upstream | None = None,
) -> Flask:
    """Build the application over a migrated database."""
    app = Flask("llmpt_tracker")
    app.jinja_options = {"finalize": pages.shown}
    app.config.update(MAX_CONTENT_LENGTH=MAX_PUBLISH_BYTES, MAX_FORM_MEMORY_SIZE=0)
    app.url_map.converters["repo_id"] = repos.RepoIdConverter
    app.url_map.merge_slashes = False
    database = Database(settings.database_location)
    network = network or HostNetwork()
    read_keys = ReadKeys.of(settings)
    servers, limits = BlobServers(announcer, keys=read_keys), Limits(announcer)
    waiting = Waiting(on_full=partial(limits.reached, TOO_MANY_WAIT), is_gone=clients.is_gone, aside=clients.aside)
    seats = Seats(on_full=partial(limits.reached, ALL_SEATS_TAKEN))
    questions = Questions(announcer, on_spent=partial(limits.reached, ASKED_FOR_MUCH))
    if upstream is None:
        told = UpstreamAddress(announcer)
        bounds, patience = Bounds(waiting, questions), Patience(ref_ttl_s=settings.ref_ttl_s)
        upstream = MirroredUpstream(told, database=database, clock=clock, knock=servers.knock, patience=patience, bounds=bounds)
    places = blobs or servers
    certificate = Certificate(settings.tls_cert, settings.tls_key) if settings.tls_cert is not None else None
    identity = Identity(settings.key_file, certificate=certificate)
    notes, names = Notes(database, clock), settings.hosts.also(own_names())
    behind = upstream
    hub_rights = HubRights(lambda: behind.address, wait_s=questions.wait_s)
    told_by = (behind, limits, waiting, seats, notes, identity, names, read_keys, hub_rights)
    learning = Learning(timings=LearningTimings(again_s=settings.ref_ttl_s))
    attach(app, State(settings, clock, database, announcer, network, places, *told_by, learning=learning))
    app.before_request(metrics.begin)
    app.before_request(request_ids.begin)
    app.before_request(clients.leave_the_gone)
    app.before_request(access.guard)
    app.before_request(access.guard_pages)
    app.before_request(access.answer_preflight)
    app.before_request(versions.guard)
    app.before_request(spell_as_here)
    app.before_request(readers.guard)
    app.before_request(clients.take_seat)
    app.before_request(hub.serve)
    app.teardown_request(clients.give_seat_back)
    app.teardown_request(request_ids.end)
    app.after_request(versions.label)
    app.after_request(access.let_page_read)
    app.after_request(metrics.count)
    app.after_request(request_ids.label)
    app.wsgi_app = Forwarded(app.wsgi_app, trusted=settings.trusted_proxies)  # type: ignore[method-assign]
    errors.register(app)
    api = (
        torrents,
        lookups,
        repos,
        openapi,
        publishing,
        token_views,
        leases,
        reports,
        traffic,
        mirrors,
        versions,
        identity_views,
        visibility,
    )
    for views in (*api, api_docs, blob_views, health, metrics, dist, pages, pages.admin):
        app.register_blueprint(views.blueprint)
    return app


def wsgi() -> Flask:
    """Build the application in a gunicorn worker."""
    settings = TrackerSettings.read()
    log_to_stderr(settings.log)
    if settings.control_socket is None:
        raise SettingError(f"{CONTROL_SOCKET} is not set: start the tracker with `llmpt-tracker serve`")
    return create_app(settings, utc_now, AnnouncerClient(settings.control_socket), HostNetwork.read())
