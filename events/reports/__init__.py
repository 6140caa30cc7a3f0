"""Reads for pages, exports and the API. Nothing here writes a table of events or counts.

`forms` validates the filters of a request. `failures` and `metrics` read events and rollups. `ranking`, `trends` and
`breakdowns` read failure groups. `places` finds the original places of a group, and `event_text` the texts of an event.
`export` and `spreadsheets` stream rows as CSV and XLSX, and record each export in the audit log.
"""
