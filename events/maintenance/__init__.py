"""Operations on stored events that no request waits for.

`retention` alone deletes events, and writes the mark before which data may be incomplete. `regrouping` gives stored
failures new fingerprints. `integrity` checks the counts. `disk` reports the free disk space. `demo` generates demo data
for a new site: an invented app with source maps, its users and its failures. `jobs` runs all scheduled work. `banners`
collects the problems that every admin page shows. `retention_policy` contains the periods of the settings and the job
that applies them. `database_file` returns free space to the disk. `container` knows the container and the mounts
around the site. `backups` makes, proves, copies and restores backups.
`doctor` reports the state of the site, and writes nothing.
"""
