"""Scheduled jobs: what runs without an operator, and when.

`registry` collects the jobs that the apps offer. `schedules` computes when a job is due.
"""
