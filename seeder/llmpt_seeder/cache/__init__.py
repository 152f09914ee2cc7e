"""What is in the Hub caches of this server."""
