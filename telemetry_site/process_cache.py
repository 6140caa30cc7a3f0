"""The cache in the memory of this process, for counts of rate limits and the progress of exports."""

from typing import Any

from django.core.cache.backends.locmem import LocMemCache


class ProcessCache(LocMemCache):
    """Django's cache in memory, which does not compare each key with the rules of memcached."""

    def validate_key(self, key: Any) -> None:
        """Accept every key: those of this site have fixed forms. The check takes two thirds of an access."""
