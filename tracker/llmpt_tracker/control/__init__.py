"""Between the application and the announcer: what one asks the other over the control socket, and what it is told."""
