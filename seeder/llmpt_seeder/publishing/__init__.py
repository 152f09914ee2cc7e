"""What is told to the tracker: torrents and manifests."""
