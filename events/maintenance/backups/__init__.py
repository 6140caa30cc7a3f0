"""Verified backups: making, proving, keeping, copying and restoring them.

`making` writes a backup and checks it. `drill` restores the newest one into a scratch database and compares. `rotation`
selects the backups to keep. `replacement` puts a backup in place of the site's data. `schedule` contains the jobs.
`records` is the only writer of `events_backup`. `files` are the backups as files; `databases` dump and load them.
`copies` are those in a bucket of an S3-compatible service.
"""
