"""The switch between the old tables and the unified stream, and the proof that both agree.

`modes` alone writes the mode in force and its history; `parity` writes the comparisons. `copying` copies what one
side lacks. `retention` and `corrections` apply a prune, an erasure or a correction to the old tables; `archive` ends
them.
"""
