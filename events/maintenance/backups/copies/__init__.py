"""Copies of the backups in a bucket of an S3-compatible service (BACKUP_URL): sending, checking and fetching them.

`store` sends the requests, and alone imports `obstore`. `remote` reads the copies that exist. `sending` copies the
backups of BACKUP_DIR, and deletes old copies. `reading` reads copies back: to check one, or to fetch it.

The copies of each BACKUP_DIR are in a folder of their own, named by `folder.identity()`: `PREFIX/IDENTITY/NAME` and
`NAME.json`. So several machines may share a bucket, and a restored machine does not delete the copies of the lost one.
A copy without a manifest does not count: the manifest is written last and deleted first.
"""
