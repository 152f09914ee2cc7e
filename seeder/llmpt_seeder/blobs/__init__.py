"""Bytes over HTTP: `GET /blobs/<etag>` for programs that have no hook, web seeds (BEP 19), and where BitTorrent cannot run.

`BlobServer` asks its sources for the blob (`OpenBlob`), answers as RFC 9110 has it, and lets the kernel move the bytes. A
source may hand out a file that still grows.
"""

from llmpt_seeder.blobs.server import BlobServer, Doors, Notices
from llmpt_seeder.blobs.sources import BlobSource, FileSource, FileState, OpenBlob

__all__ = ["BlobServer", "BlobSource", "Doors", "FileSource", "FileState", "Notices", "OpenBlob"]
