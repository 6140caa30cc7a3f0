"""Groups failures that have the same cause.

`fingerprints` is a pure function from a failure to its key; `reading` contains its stages. `groups` alone writes the
groups with their hours and shares; `triage` writes the decisions of maintainers about a group. `advice` writes the
advice to users and the counts of its deliveries. `rules` reads which groups were merged into others. `moves` writes the
group of a stored failure. `merges` writes the former groups: it merges and splits groups, and translates the merges to
a new algorithm of fingerprints.
"""
