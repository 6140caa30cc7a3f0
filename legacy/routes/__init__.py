"""The routes of the old Workers, with their old responses.

A view translates a request and stores it through `events.ingest` and `legacy.old_tables`, depending on the mode.
"""
