"""Figures of the releases, and whether one fails more often than another. Nothing here writes a table.

For other packages:

- `figures.newest(limit, now)` returns the newest releases, each as a `figures.Comparison` with the release before it:
  `release` (`version`, `first_seen_ms`, `last_seen_ms`, `flashes`, `other_failures`, `expected`), `other` (the same of
  the release before, or None) and `verdict`.
- `flashes` is a `verdicts.Flashes`: `successes`, `failures`, `total`, `failure_rate`, `interval`.
- `verdict` is a `verdicts.Verdict`: `name`, `difference`, `interval`, `flashes_needed`, and `is_alarming` if an alert
  is due. str(verdict) gives it in words.

`figures.details` compares any two releases, `changes` lists the failure groups that came or went with one, and `mixes`
compares the models.
"""
