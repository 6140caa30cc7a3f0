"""The counts that change in the transaction that stores an event.

`rollups` alone writes the totals, the hourly rollups, the tallies and the baseline. `expected` writes the counts of the
events of expected groups, `facets` the counts by facet, `buckets` the known names, `releases` the releases, `arrivals`
the sketch of repeated messages, and `site_days` one row per day about the site. `corrections` makes successes void and
lowers every count. `upserts` contains the SQL that they share.
"""
