"""The hook's switch, for programs that go without `llmpt.enable_p2p`: put the patch of huggingface_hub in place, take it away.

`llmpt.hook.patch` does the work; these names stay.
"""

from llmpt.hook.patch import disable, enable, install, is_enabled

__all__ = ["disable", "enable", "install", "is_enabled"]
