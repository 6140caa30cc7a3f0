"""The URL of a channel: which schemes and parameters are allowed. No message contains the URL, which is a secret."""

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

MAX_CHARACTERS = 2_000
MAX_RECIPIENTS = 20
MAIL = "mailto"

# Mail and `json`, `ntfy` and `workflows` (Microsoft Teams) name a host; the others always send to their own host.
# `addresses` restricts all of them. A new version of Apprise adds nothing to this list.
DEFAULT_SCHEMES = (
    "mailto", "mailtos", "json", "jsons", "ntfy", "ntfys", "workflow", "workflows",
    "azure", "brevo", "clicksend", "dingtalk", "discord", "feishu", "flock", "freemobile", "gchat", "groupme",
    "guilded", "ilert", "incidentio", "join", "lark", "line", "mailersend", "msgbird", "o365", "onesignal",
    "opsgenie", "pagerduty", "pagertree", "pbul", "plivo", "postmark", "pover", "prowl", "pushme", "pushy",
    "resend", "revolt", "ringc", "schan", "sendgrid", "ses", "signl4", "simplepush", "sinch", "slack", "sns",
    "spike", "splunk", "squadcast", "telnyx", "tgram", "threema", "twilio", "twist", "vonage", "webex", "wxteams",
    "zoom", "zulip",
)  # fmt: skip

# Parameters of Apprise that weaken the connection, read a file, send more than once, or fetch another address.
_REFUSED_PARAMETERS = {
    "attach", "attachment", "cto", "file", "file_url", "keyfile", "optional", "pgp", "pgppub", "pgpprv", "redirect",
    "retry", "rto", "smime", "store", "subfile", "tag", "template", "verify", "wait", "wkd",
}  # fmt: skip
_SCHEME = re.compile(r"([A-Za-z0-9]{1,32})://")


class InvalidURL(ValueError):
    """The URL is refused. The message says in words why, without the URL."""


class Recipients(NamedTuple):
    """The mail addresses of `mailto:a@example.org,b@example.org`, which the site's own mail server sends to."""

    addresses: list[str]


def allowed_schemes(words: Iterable[str]) -> list[str]:
    """Return the schemes of ALERT_SCHEMES. The word `default` stands for DEFAULT_SCHEMES."""
    schemes: list[str] = []
    for word in words:
        schemes += DEFAULT_SCHEMES if word.lower() == "default" else [word.lower()]
    return list(dict.fromkeys(schemes))


def recipients(url: str) -> Recipients | None:
    """Return the addresses of `mailto:…` without slashes, None for another URL. Raises InvalidURL."""
    if not url.lower().startswith(f"{MAIL}:") or url.lower().startswith(f"{MAIL}://"):
        return None
    words = [unquote(word).strip() for word in url.partition(":")[2].split(",")]
    if len(words) > MAX_RECIPIENTS:
        raise InvalidURL(f"A channel has at most {MAX_RECIPIENTS} mail addresses. Use a mailing list.")
    for word in words:
        try:
            validate_email(word)
        except ValidationError:
            raise InvalidURL(
                "After mailto: follow mail addresses, separated by commas, such as mailto:team@example.org."
            ) from None
    return Recipients(words)


def check(url: str, schemes: Iterable[str]) -> None:
    """Raise InvalidURL for a URL that is refused without asking Apprise.

    The address of a webhook (https://…) passes: Apprise knows whose it is, and `program` checks the scheme then.
    """
    if not url or len(url) > MAX_CHARACTERS:
        raise InvalidURL(f"A URL has 1 to {MAX_CHARACTERS:,} characters.")
    if not url.isprintable() or " " in url:
        raise InvalidURL("A URL has no spaces and no control characters.")
    match = _SCHEME.match(url)
    if match is None:
        raise InvalidURL("A URL begins with the scheme of a service, such as slack:// or mailto:.")
    scheme = match[1].lower()
    if scheme not in ("https", *schemes):
        raise InvalidURL(
            f"This site does not allow the scheme {scheme}. The setting ALERT_SCHEMES lists the allowed ones."
        )
    try:
        query = urlsplit(url).query
    except ValueError:
        raise InvalidURL("The host of the URL is not valid.") from None
    # Apprise ignores the case of names, and white space around them.
    pairs = parse_qsl(query.replace("?", "&"), keep_blank_values=True)
    names = {name.strip().lower().lstrip("+-:") for name, _ in pairs}
    if refused := sorted(names & _REFUSED_PARAMETERS):
        raise InvalidURL(f"The parameter {refused[0]} is not allowed. Remove it from the URL.")
