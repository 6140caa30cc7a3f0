"""The PostgreSQL backend: Django's, with a pool that drops its connections after a failover."""
