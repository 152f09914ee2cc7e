"""The agent among the other processes of its machine: where it listens, where its state lies, when it ends."""
