"""What is counted in the transaction that stores an event.

`rollups` alone writes the totals, the hourly rollups, the tallies and the baseline; `buckets` the names that keep
their place, `releases` the releases, `arrivals` the sketch of repeated messages, and `site_days` one row a day about
the site. `corrections` marks successes void and moves every count with them. `upserts` is the SQL that they share.
"""
