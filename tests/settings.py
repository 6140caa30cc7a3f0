"""The site's own settings, with nothing of this machine's but the services to test against."""

import os
import re
import tempfile
from pathlib import Path

from tests.redis_databases import own_redis_database

# DATABASE_URL and CACHE_URL choose the engine under test; every other variable has its default.
_SETTINGS = Path(__file__).parent.parent / "telemetry_site" / "settings.py"
for _name in re.findall(r'env\.\w+\(\s*"(\w+)"', _SETTINGS.read_text(encoding="utf-8")):
    if _name not in ("DATABASE_URL", "CACHE_URL"):
        os.environ.pop(_name, None)
        os.environ.pop(f"{_name}_FILE", None)
os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="telemetry-tests-")
os.environ["EPHEMERAL_DATA"] = "1"  # the tests may run in a container
os.environ["SECRET_KEY"] = "for-tests-alone-" + "x" * 50
if os.environ.get("CACHE_URL"):
    os.environ["CACHE_URL"] = own_redis_database(os.environ["CACHE_URL"])

from telemetry_site.settings import *  # noqa: E402, F403

ALLOWED_HOSTS = [*ALLOWED_HOSTS, "testserver"]  # noqa: F405
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
INGEST_RATE = BATCH_RATE = BATCH_EVENTS_RATE = READ_RATE = DAILY_BYTES_PER_CLIENT = MIN_FREE_BYTES = (
    None  # tests of the limits set their own
)
SOURCEMAP_WORKER = False  # its process would look for the tests' database under another name
if CACHE_URL:  # noqa: F405
    # On a loaded machine an answer may be late, and the limiter lets everyone pass meanwhile.
    CACHES["default"]["OPTIONS"] = {"socket_connect_timeout": 10, "socket_timeout": 10}  # noqa: F405
if DATABASES["default"]["ENGINE"].endswith("sqlite"):  # noqa: F405
    # In memory, threads would share one connection's locks.
    DATABASES["default"]["TEST"] = {"NAME": DATA_DIR / "tests.sqlite3"}  # noqa: F405
