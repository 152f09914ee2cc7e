"""The announcer's HTTP: connections, requests, and answers in one go."""
