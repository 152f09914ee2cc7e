"""Revisions on a disk: `llmpt export` writes them there from the LAN, `llmpt import` puts them into a Hub cache elsewhere."""
