"""Tells people what happened: new failures, regressions, worse releases, silence, failed jobs, and Monday's digest.

`outbox` alone writes the alerts: ingest calls it in its transaction, and so do the `rules`, which a job evaluates.
`delivery` alone writes the deliveries: a job sends each alert through the `channels` that want it. `timing` knows the
quiet hours. `texts` says what an alert is about, `digest` writes Monday's digest, and `messages` gives both their form
and makes every text of a client safe to show. `preview` tells how many alerts a threshold would have written.
"""
