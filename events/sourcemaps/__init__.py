"""Source maps: `intake` receives an uploaded map, `check` judges it in a process of its own, `store` keeps it, and
`mappings` reads it.

`store` writes `events_sourcemap`.
"""
