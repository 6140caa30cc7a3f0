"""Source maps: `intake` receives an uploaded map, `check` judges it in a process of its own, `store` keeps it, `mappings`
reads it, and `originals` reads the sources in it.

`store` writes `events_sourcemap`.
"""
