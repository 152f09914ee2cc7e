"""The announcer: one asyncio process that owns the peers, in memory, with no lock and no database (DESIGN D7).

Arrows point one way::

    __main__ → server, control → swarms (the rules) → visibility → seeders
                    │                └→ store ← memory_store
                    └→ wire, http (bytes ⇄ requests)

The application asks it over a local socket (`control`); clients announce over HTTP (`server`). It imports neither Flask nor
SQLAlchemy, and knows only truncated info-hashes: 20 bytes.
"""
