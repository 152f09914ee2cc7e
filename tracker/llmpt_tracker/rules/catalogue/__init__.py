"""What the catalogue answers: torrents, repos, manifests."""
