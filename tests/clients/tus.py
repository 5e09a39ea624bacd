"""Uploads a file in pieces with checksums, stops on the way, goes on as another process would, and says where the upload is."""
import os
import sys

from tusclient.client import TusClient

endpoint, path = sys.argv[1:]
client = TusClient(endpoint)
options = {"chunk_size": 3 << 20, "upload_checksum": True, "retries": 3, "retry_delay": 1}
first = client.uploader(path, metadata={"filename": os.path.basename(path)}, **options)
first.upload_chunk()
first.upload_chunk()
second = client.uploader(path, url=first.url, **options)
assert second.offset == 6 << 20, second.offset
second.upload()
print(second.url)
