"""The browser that the tests drive, where this machine has one."""

import shutil


def find_chromium() -> tuple[str, str] | None:
    """Return the paths of Chromium and of its driver, None unless both are there."""
    browsers = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    browser, driver = next(browsers, None), shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None
