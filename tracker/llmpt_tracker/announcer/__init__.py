"""The announcer: one asyncio process that owns the peers, in memory, with no lock and no database.

Arrows point one way::

    __main__ → http, udp, control (AF_UNIX) → tracker (the state) → swarms (the rules) → visibility → seeders
                       └→ wire (bytes ⇄ requests) ←┤                   └→ store ← memory_store
                                                   └→ prober (which can be reached) ───────┘

The application asks it over a local socket (`control`); clients announce over HTTP (`http`) and UDP (`udp`). It imports neither
Flask nor SQLAlchemy, and knows only truncated info-hashes: 20 bytes.
"""
