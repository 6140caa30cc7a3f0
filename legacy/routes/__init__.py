"""The endpoints of the old Workers, answered as they answered.

A view translates a request and stores it through `events.ingest` and `legacy.old_tables`, as the mode in force says.
"""
