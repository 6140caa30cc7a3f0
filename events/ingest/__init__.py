"""From the bytes of a request to a stored row.

The guards check origin, rate, token and size. The contract turns a body into an `EventRow`. The writer stores rows in a
group commit and updates all counts in the same transaction. `writer` alone inserts into `telemetry_events`,
`refused_hosts` alone writes `events_refusedhost`, and `tokens` alone writes `events_ingesttoken`.
"""
