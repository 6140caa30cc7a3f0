"""Mail through the server of EMAIL_URL: plain text and HTML. The operator chose this server, so it may be private."""

import smtplib
import uuid
from collections.abc import Sequence
from contextlib import suppress
from email.utils import parseaddr
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection

from events.alerts.messages import Message, one_line


class MailFailed(Exception):
    """The mail was not sent. The message says why, without the answer of the server: it may quote an address."""


def send(message: Message, addresses: Sequence[str]) -> None:
    """Send a message to each of these addresses, which do not see each other. Raises MailFailed."""
    if not settings.HAS_MAIL:
        raise MailFailed("EMAIL_URL is not set, so the site cannot send mail.")
    host = urlsplit(settings.SITE_URL).hostname or "localhost"
    sender_host = parseaddr(settings.ALERT_FROM)[1].rpartition("@")[2]
    mail = EmailMultiAlternatives(
        one_line(message.subject),
        message.text,
        settings.ALERT_FROM,
        bcc=list(addresses),
        headers={
            "To": addresses[0] if len(addresses) == 1 else "Telemetry alerts:;",
            # Programs that answer mail by themselves, such as a notice of absence, do not answer these.
            "Auto-Submitted": "auto-generated",
            "X-Auto-Response-Suppress": "All",
            "List-Id": f"Telemetry alerts <alerts.{host}>",
            # Django would look up the name of the machine, which can take long.
            "Message-ID": f"<{uuid.uuid4()}@{sender_host}>",
        },
    )
    mail.attach_alternative(message.html, "text/html")
    connection = get_connection()
    try:
        connection.send_messages([mail])
    except (smtplib.SMTPException, OSError) as error:
        raise MailFailed(_in_words(error)) from None
    finally:
        with suppress(smtplib.SMTPException, OSError):  # Django leaves it open when the server refuses the password
            connection.close()


def _in_words(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"The mail server refused the user name or the password ({error.smtp_code})."
    if isinstance(error, smtplib.SMTPSenderRefused):
        return f"The mail server refused the sender ({error.smtp_code}). Check ALERT_FROM."
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = sorted({code for code, _ in error.recipients.values()})
        return f"The mail server refused the recipient ({', '.join(map(str, codes))})."
    if isinstance(error, smtplib.SMTPResponseException):
        return f"The mail server answered {error.smtp_code}."
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return "The mail server does not offer what EMAIL_URL asks for: STARTTLS or a password."
    if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
        return "The mail server did not answer in time."
    if isinstance(error, smtplib.SMTPException):
        return "The mail server closed the connection."
    return f"The mail server cannot be reached: {getattr(error, 'strerror', None) or type(error).__name__}."
