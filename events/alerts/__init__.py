"""Tells people what happened: new failures, regressions, worse releases, silence, failed jobs, and Monday's digest.

`messages` builds the texts of messages, and makes every text of a client safe to show.
"""
