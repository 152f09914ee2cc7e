"""The agent: one process per user and machine that fetches blobs from the swarm and goes on seeding them.

`messages` is the language it speaks with the hook, `link` and `starter` the hook's side of it (standard library only);
`daemon` puts the agent's own side together: `server` (the socket), `transfers` (blobs on their way in), `seeds` (blobs
that are here), `directory` (what the tracker says). `lock` makes it the only one, `lifetime` says when it ends, `places`
where its state lies, `interfaces` where it listens, `report` what it tells of itself.
"""
