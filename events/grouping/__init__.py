"""Groups failures that have the same cause.

`fingerprints` is a pure function from a failure to its key; `reading` contains its stages. `groups` alone writes the
groups with their hours and shares. `triage` writes the decisions of maintainers about a group, and the suggested merges
that they dismissed. `advice` writes the advice to users and the counts of its deliveries.

`merges` writes the former groups: it merges groups, splits them off again, and translates the merges to a new algorithm
of fingerprints. `splits` writes the place rules, which split a group by place. `rules` reads both kinds of rules, and
`moves` writes the group of a stored failure.
"""
