"""What gunicorn logs, written as all that we log."""

from __future__ import annotations

from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from llmpt.host.logs import formatter
from llmpt_tracker.settings import TrackerSettings


class GunicornLogger(Logger):  # type: ignore[misc]
    """Writes the lines of gunicorn's own logger in the form that LLMPT_LOG names."""

    def setup(self, cfg: Any) -> None:
        """As gunicorn does, with our formatter."""
        super().setup(cfg)
        form = formatter(TrackerSettings.read().log)
        for handler in self.error_log.handlers:
            handler.setFormatter(form)
