"""The shared vocabulary: values that carry their invariants, used by every process.

Nothing here opens a file or a socket, and nothing here imports a third-party package.
"""
