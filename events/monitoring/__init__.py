"""Figures about the site for a monitoring system, all of them read from rows.

`commits` measures the commits of events and is the only writer of `events_commitbucket`. `exposition` reads the rows of
every table that has figures for an operator, and writes them in the text format of Prometheus.
"""
