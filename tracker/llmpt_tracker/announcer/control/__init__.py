"""The announcer's control socket: what the application asks of it."""
