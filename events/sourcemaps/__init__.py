"""Source maps: `intake` receives an uploaded map, `check` judges it in a process of its own, `store` keeps it,
`mappings` reads it, and `originals` reads the sources in it. `resolve` finds and stores the original position of each
frame, and `background` starts the process for large maps.

`store` writes `events_sourcemap`, `resolve` its last use and `events_resolvedframe`.
"""
