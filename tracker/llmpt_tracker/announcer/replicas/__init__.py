"""Several announcers that are one tracker: what each tells the others through Valkey, and the one that decides for all."""
