"""From the bytes of a request to a stored row.

The guards check who sends, how often and how much. The contract turns a body into an `EventRow`. The writer stores
rows in a group commit, with all counts in the same transaction. `writer` alone inserts into `telemetry_events`,
`refused_hosts` alone writes `events_refusedhost`, and `tokens` writes `events_ingesttoken`.
"""
