"""The import of exports from D1.

`d1_staging` reads a dump into a scratch database under limits. `d1_import` merges it into the unified stream and the
old tables, and writes the report of each run. For that, `d1_rows` converts the rows, and `d1_known` decides which
events are new.
"""
