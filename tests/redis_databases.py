"""Where tests that run side by side keep their Redis keys: each test empties its cache, so each worker has one."""

import os
from urllib.parse import urlsplit


def own_redis_database(url: str) -> str:
    """Return the address of the database that belongs to this worker: as many after the named one as its number."""
    server = urlsplit(url)
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return server._replace(path=f"/{int(server.path.strip('/') or 0) + worker}").geturl()
