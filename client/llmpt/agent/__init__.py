"""The agent: one process per user and machine that fetches blobs from the swarm and goes on seeding them.

`daemon` puts it together: `server` (its socket), `transfer` (blobs that are wanted), `sharing` (what it may share with the
LAN), `seeding` (blobs that are here), `directory` (what the tracker says), `host` (its place on the machine).
"""
