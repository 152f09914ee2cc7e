"""The version of the installed llmpt."""

from importlib.metadata import version

VERSION = version("llmpt")
