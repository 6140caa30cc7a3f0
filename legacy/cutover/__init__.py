"""The switch between the old tables and the unified stream, and the proof that it is safe.

`modes` reads the current mode, and only `switch` writes it and its history. `old_counts` reads what the old routes
count. Only `parity` writes the comparisons. `copying` copies rows that one side lacks. `retention` and `corrections`
apply a prune, an erasure or a correction to the old tables. `archive` archives and drops them.
"""
