"""The Hub's own API: everything under /api/ and /<repo>/resolve/ that is not the catalogue's."""
