"""Python imports this module at its start if its folder is in PYTHONPATH.

libfaketime with FAKETIME_DONT_FAKE_MONOTONIC breaks `time.sleep`, which raises EINVAL. Waiting for no file has the same
effect and works.
"""

import select
import time

time.sleep = lambda seconds: select.select([], [], [], seconds)
