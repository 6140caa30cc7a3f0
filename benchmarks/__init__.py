"""Benchmarks for docs/performance.md. They compare the site with the floor, a bare Django view."""
