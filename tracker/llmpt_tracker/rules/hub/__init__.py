"""The Hub's own API as rules over the catalogue: revisions, files, lists, cards, and its words for no."""
