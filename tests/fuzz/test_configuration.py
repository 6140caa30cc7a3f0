"""Values of variables: the site normalises them to the form that browsers and proxies send, or refuses them."""

import ipaddress
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from legacy import checks
from legacy.cutover import modes
from legacy.models import Mode, ModeInForce
from telemetry_site import env
from tests.fuzz.judge import case, check, share

SCHEMES = {"http": "http", "HTTPS": "https", "https": "https", "ftp": None, "": None, "http:": None}
HOSTS = {
    "example.org": "example.org",
    "Example.ORG": "example.org",
    "example.org.": "example.org.",
    "xn--bcher-kva.example": "xn--bcher-kva.example",
    "localhost": "localhost",
    "127.0.0.1": "127.0.0.1",
    "[::1]": "[::1]",
    "[2001:DB8:0:0::1]": "[2001:db8::1]",
    **dict.fromkeys(["*", "*.example.org", "b\u00fccher.example", "127.1", "0x7f000001", "1.2.3.256", "[::1", "[::g]"]),
    **dict.fromkeys(["", "a..b", "-a.example", "me@example.org", "a b", "ex%61mple.org", "a\\b", "a_\u0130"]),
}
PORTS = {"": "", ":": "", ":8443": ":8443", ":080": ":80", ":443": ":443", ":0443": ":443", ":80": ":80"}
PORTS |= dict.fromkeys([":0", ":70000", ":https", ":-1", ":\u0661", ":8 0"])
ENDS = {"": True, "/": True, "//": True, "/app": False, "?a": False, "#a": False, "/*": False}
DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def read(name: str, raw: str, parse: str, *args: object, **options: object) -> object:
    """Return the value of the setting, or None if the variable is refused."""
    with pytest.MonkeyPatch.context() as patch, case():
        patch.setenv(name, raw)
        value = getattr(env, parse)(name, *args, **options)
        try:
            env.refuse_faults()
        except ImproperlyConfigured:
            return None
    return value


def sent_by_a_browser(scheme: str, host: str, port: str, end: str) -> str | None:
    known = (SCHEMES[scheme], HOSTS[host], PORTS[port])
    if None in known or not ENDS[end]:
        return None
    return f"{known[0]}://{known[1]}{'' if known[2] == DEFAULT_PORTS[str(known[0])] else known[2]}"


@pytest.mark.fault("origins that no browser sends")
@share(2, short=50)
@given(
    scheme=st.sampled_from(list(SCHEMES)),
    host=st.sampled_from(list(HOSTS)),
    port=st.sampled_from(list(PORTS)),
    end=st.sampled_from(list(ENDS)),
    blanks=st.sampled_from(["", " ", "\t"]),
)
def test_an_origin(scheme: str, host: str, port: str, end: str, blanks: str) -> None:
    raw = f"{scheme}://{host}{port}{end}"
    expected = sent_by_a_browser(scheme, host, port, end)
    listed = read("ALLOWED_ORIGINS", f"{blanks}{raw}{blanks}", "origins", [])
    check("else", listed == (None if expected is None else [expected]), listed, raw)
    own = read("SITE_URL", raw, "origin", "")
    check("else", own == expected, own, raw)


@pytest.mark.fault("hosts to listen on")
@share(1, short=20)
@given(st.ip_addresses(), st.booleans())
def test_a_host_in_an_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address, is_exploded: bool) -> None:
    with case():
        shown = env.host_in_url(address.exploded.upper() if is_exploded else str(address))
    expected = f"[{address}]" if address.version == 6 else str(address)
    check("else", ipaddress.ip_address(shown.strip("[]")) == address, shown, address)
    check("else", shown == expected or ("." in shown and shown.startswith("[")), shown, address)


SECRETS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40) | st.text(
    "abcXYZ019-_!~", min_size=20, max_size=30
)


@pytest.mark.fault("secrets that can be guessed or not be sent")
@share(1, short=50)
@given(SECRETS)
def test_an_admin_token(raw: str) -> None:
    value = read("ADMIN_TOKEN", raw, "secret", "", least=24)
    token = raw.strip()
    is_fit = not token or (len(token) >= 24 and all(33 <= ord(letter) <= 126 for letter in token))
    check("else", value == (token if is_fit else None), value, raw)


@pytest.mark.fault("ingest tokens beside open old routes")
@pytest.mark.django_db
@pytest.mark.parametrize("mode", [None, *Mode])
@pytest.mark.parametrize("required", [True, False])
def test_old_routes_beside_tokens(mode: Mode | None, required: bool, settings: Any) -> None:
    settings.INGEST_TOKEN_REQUIRED = required
    if mode is not None:
        ModeInForce.objects.create(id=1, mode=mode)
    modes.forget()
    with case():
        warnings = checks.old_routes_beside_tokens()
    check("else", bool(warnings) is (required and mode != Mode.GONE), warnings, mode, required)
