"""The peers of every swarm, and the tracker protocol that they speak."""
