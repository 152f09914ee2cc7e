"""The database for a command beside the tracker: migrated, and closed when the command is over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmpt_tracker.settings import TrackerSettings

if TYPE_CHECKING:
    from llmpt_tracker.database.sessions import Database


@contextmanager
def opened() -> Iterator[Database]:
    """Yield the database that the settings name."""
    settings = TrackerSettings.read()
    from llmpt_tracker.serve import folder_lock  # a wrong setting is told before this is loaded
    from llmpt_tracker.serve.parent import make_data_folder, open_database

    make_data_folder(settings.data)
    with folder_lock.shared(settings.data), open_database(settings) as database:
        yield database
