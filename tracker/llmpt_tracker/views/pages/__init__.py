"""The pages for people, from the server's own state at each request; nothing in them comes from elsewhere."""

from llmpt_tracker.views.pages import admin
from llmpt_tracker.views.pages.routes import blueprint
from llmpt_tracker.views.pages.words import shown

__all__ = ["admin", "blueprint", "shown"]
