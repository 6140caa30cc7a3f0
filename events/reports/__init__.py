"""Reads for pages, exports and the API; nothing here writes a table of events or counts.

The forms validate the filters of a request. `failures` and `metrics` answer them from events and rollups, `ranking`,
`trends` and `breakdowns` from the groups. `export` and `spreadsheets` stream rows as CSV and XLSX, and note each
export in the audit log.
"""
