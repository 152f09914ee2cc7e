"""The shared vocabulary: values that carry their invariants, used by the client, the tracker and the seeder.

Nothing here does I/O beyond reading a file it is given, and nothing here imports a third-party package.
"""
