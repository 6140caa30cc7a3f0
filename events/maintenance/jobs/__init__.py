"""Scheduled jobs: what runs without an operator, when, and in which process.

`registry` collects the jobs that the apps offer. `schedules` computes when a job is due. `leases` alone writes the rows
of jobs, so that one process at a time runs a job, and `runs` alone those of their runs. `loop` runs due jobs, each in a
process of its own (`children`). `background` keeps the process of the loop running beside the server. `problems` finds
the jobs that need a person.
"""
