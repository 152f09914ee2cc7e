"""What this machine may share, and what it says to the tracker about it."""
