"""The parent of the tracker's two processes, and what it prepares for them."""
