"""The settings of a workstation, and where all settings come from. Standard library only: the hook reads them."""

from llmpt.settings.client import ClientSettings

__all__ = ["ClientSettings"]
