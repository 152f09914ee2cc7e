"""The tracker as a client sees it: its catalogue, blobs over HTTP, and how it is found in the LAN."""
