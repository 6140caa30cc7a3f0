"""The program that runs Apprise: it checks a URL, or sends one message. `sending` starts it.

It reads one JSON object from its standard input, because other users can see the arguments of a process. It writes one
JSON object to its standard output: `{"scheme": …, "service": …}`, or `{"problem": …}` in words without a secret. This
module imports nothing of Django, so it has neither the settings nor a connection to the database.
"""

import json
import logging
import os
import re
import resource
import sys
from collections.abc import Iterable
from contextlib import redirect_stdout, suppress
from http import HTTPStatus
from typing import Any

from events.alerts.channels import addresses
from events.alerts.channels.addresses import AllowedHost
from events.alerts.channels.enclosure import Enclosure

SECONDS = 60  # of processor time; `sending` limits the time that passes
MEMORY_BYTES = 1_073_741_824
CONNECT_SECONDS = 10.0
READ_SECONDS = 20.0

# What the texts of libraries contain, and what to tell people. The first that matches counts.
_CAUSES = (
    (r"NameResolutionError|getaddrinfo|gaierror|Name or service not known", "The name of the host is unknown."),
    (r"CERTIFICATE_VERIFY_FAILED|certificate verify failed", "The certificate of the host is not valid."),
    (r"SSLError|SSL:", "The encrypted connection failed."),
    (r"[Tt]ime(d )?out|Timeout", "The host did not answer in time."),
    (r"Connection refused|ConnectionRefusedError", "The host refused the connection."),
    (r"SMTPAuthenticationError|\(535", "The mail server refused the user name or the password."),
    (r"Connection reset|RemoteDisconnected|Connection aborted", "The host closed the connection."),
    (r"unreachable", "The host cannot be reached from this machine."),
)


class Problem(Exception):
    """Why nothing was sent, in words without a secret."""


class _Records(logging.Handler):
    """Keeps the log lines of the libraries in memory. They may contain secrets, so nothing writes them."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(Exception):  # a template that does not fit its arguments
            self.lines.append(record.getMessage())


def run(order: dict[str, Any], enclosure: Enclosure) -> dict[str, str]:
    """Check the URL of an order, and send its message if it has one. Raises Problem."""
    records = _Records()
    logging.getLogger().handlers = [records]
    logging.getLogger().setLevel(logging.DEBUG)

    import apprise  # in this process alone: it takes 50 MB

    asset = apprise.AppriseAsset(
        app_id="Telemetry",
        app_url=order["site_url"],
        http_redirects=False,
        allow_templates=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
        async_mode=False,
        pgp_autogen=False,
        pem_autogen=False,
    )
    try:
        service = apprise.Apprise.instantiate(order["url"], asset=asset, suppress_exceptions=False)
    except Exception:
        service = None
    if service is None:
        raise Problem("Apprise does not accept this URL. Compare it with the example for the service.")
    scheme = _allowed_scheme(service, order["schemes"])
    if order["text"] is not None:
        # A parameter of the URL may have set these.
        service.redirects, service.verify_certificate = False, True
        service.socket_connect_timeout, service.socket_read_timeout = CONNECT_SECONDS, READ_SECONDS
        try:
            is_sent = service.notify(
                title=order["subject"],
                body=order["text"],
                body_format=apprise.NotifyFormat.TEXT,
                notify_type=apprise.NotifyType.WARNING,
            )
        except Exception as error:
            records.lines.append(f"{type(error).__name__}: {error}")
            is_sent = False
        if not is_sent:
            raise Problem(_in_words(records.lines, enclosure.refused_addresses))
    return {"scheme": scheme, "service": str(service.service_name)}


def _allowed_scheme(service: Any, schemes: Iterable[str]) -> str:
    """Return the scheme of a service. The address of a webhook (https://…) has become its service by now."""
    names: list[str] = []
    for protocols in (service.secure_protocol, service.protocol):
        names += [protocols] if isinstance(protocols, str) else protocols or ()
    used = service.schema if service.schema in names else names[0]
    if used not in schemes:
        raise Problem(f"This site does not allow the scheme {used}. The setting ALERT_SCHEMES lists the allowed ones.")
    return str(used)


def _in_words(lines: list[str], refused: list[str]) -> str:
    if refused:
        return (
            f"{refused[0]} is not a public address, so nothing was sent to it."
            " If it is yours, add it to ALERT_ALLOW_HOSTS."
        )
    text = "\n".join(lines)
    if status := re.search(r"error=([1-5][0-9]{2})\b", text):
        code = int(status[1])
        phrase = f" ({HTTPStatus(code).phrase})" if code in set(HTTPStatus) else ""
        redirect = " Redirects are not followed: enter the final address." if 300 <= code < 400 else ""
        return f"The service answered {code}{phrase}.{redirect}"
    return next((words for pattern, words in _CAUSES if re.search(pattern, text)), "The service refused the message.")


def main() -> None:
    order = json.load(sys.stdin)
    os.environ.clear()  # no proxy, no secret of the site
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    sys.dont_write_bytecode = True
    # Names are resolved before the hook exists: the resolver of a system may use a local socket.
    enclosure = Enclosure(addresses.resolved(AllowedHost(*allowed) for allowed in order["allowed"]))
    enclosure.close()
    with redirect_stdout(sys.stderr):  # a library must not write into the verdict
        try:
            verdict = run(order, enclosure)
        except Problem as problem:
            verdict = {"problem": str(problem)}
    json.dump(verdict, sys.stdout)


if __name__ == "__main__":
    main()
