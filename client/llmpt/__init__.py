"""llmpt: Hugging Face models and datasets from your LAN's own swarm."""
