"""Reports the actual state of the site: the findings of `manage.py doctor` and of *About this site*.

`findings` defines a finding and its text. `versions`, `files`, `database`, `counts`, `unattended` and `traffic` make
those of events; other apps offer theirs by `doctor_checks()` of their AppConfig. `report` collects all of them.

Nothing here writes. A finding has no secret, no address, no name of a client and no part of an event.
"""
