"""The application's HTTP server: an event loop reads requests and sends answers, threads answer whole ones."""
