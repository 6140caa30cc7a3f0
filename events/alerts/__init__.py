"""Tells people what happened: new failures, regressions, worse releases, silence, failed jobs, and Monday's digest.

`outbox` alone writes the alerts: ingest calls it in its transaction, and so does the job that evaluates the rules.
`messages` builds the texts of messages, and makes every text of a client safe to show.
"""
