"""Reads for pages, exports and the API. Nothing here writes a table of events or counts.

`forms` validates the filters of a request. `failures` and `metrics` read events and rollups, `groups` failure groups,
and `releases` compares releases. `event_text` reads the texts of one event, and `issue_texts` writes those of an issue.
`export` and `spreadsheets` stream rows as CSV and XLSX, and record each export in the audit log.
"""
