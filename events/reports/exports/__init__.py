"""Exports of lists as CSV, NDJSON and XLSX, streamed in constant memory.

`lists` contains the lists with their columns and rows, `choices` what somebody wants of one, and `estimates` how large
that will be. `text_files` and `spreadsheets` write files of rows, whose `columns` have kinds. `making` makes an export
and records it in the audit log. `named` stores choices under a name.
"""
