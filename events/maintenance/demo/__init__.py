"""Generates demo data: people who flash radios from a browser, the releases of that app, and their failures.

The models are real product names. A seeded random generator draws all other values, and none belongs to a real person.
`app` has the sources of an invented app, which `bundles` minifies and maps. `stacks` writes the stacks of three
engines, `faults` says what fails, `world` who uses what, and `visits` generates the events. `decisions` makes the
decisions of invented maintainers, gives advice and uploads source maps.
"""

from events.maintenance.demo.visits import events, generate
from events.maintenance.demo.world import World
from events.rows import EventRow

__all__ = ["EventRow", "World", "events", "generate"]
