"""The account that runs a command."""

import getpass


def login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # A container may run as a user without a name.
        return "command"
