"""The switch between the old tables and the unified stream, and the proof that both agree.

`modes` alone writes the current mode and its history; `parity` writes the comparisons. `copying` copies missing rows to
one side. `retention` and `corrections` apply a prune, an erasure or a correction to the old tables. `archive` archives
and drops them.
"""
