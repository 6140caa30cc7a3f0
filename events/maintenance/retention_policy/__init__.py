"""Which events are deleted without an operator, and when.

`rules` reads the periods in force. `size` finds the oldest days to delete for `RETENTION_BYTES`. `preview` counts what
the next run would delete. `pruning` is the work of the jobs. Only `events.maintenance.retention` deletes.
"""
