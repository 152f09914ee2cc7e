"""Blobs in files of this machine: hashed, verified, copied, remembered. Standard library only."""
