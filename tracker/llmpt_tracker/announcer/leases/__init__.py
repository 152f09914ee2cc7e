"""Which machine fetches which blob from the Hub for the whole LAN. Pure state: no socket, no clock of its own."""
