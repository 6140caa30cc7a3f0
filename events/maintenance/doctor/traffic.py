"""Findings about requests: the headers of proxies, the refusals by reason, and the refused hosts."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Sum

from events.counting import site_days
from events.maintenance.doctor.findings import Examination, Finding, ProxyHeaders
from events.models import RefusedHost
from events.reports import metrics

DAYS = 7
SHOWN = 8
# Headers that proxies add beside X-Forwarded-For and X-Forwarded-Proto.
_OTHERS = {
    "HTTP_FORWARDED": "Forwarded",
    "HTTP_VIA": "Via",
    "HTTP_X_REAL_IP": "X-Real-IP",
    "HTTP_X_FORWARDED_HOST": "X-Forwarded-Host",
    "HTTP_X_FORWARDED_PORT": "X-Forwarded-Port",
    "HTTP_CF_CONNECTING_IP": "CF-Connecting-IP",
}
_DUPLICATE = "duplicate"
# These mean that clients lost events, or had to send them again, through the state of the site.
_OF_THE_SITE = {
    "storage": "the database or the disk refused them",
    "overloaded": "too many requests were queued",
    "left_out": "the disk was nearly full, so stack and log lines were left out",
}


def proxy_headers(meta: Mapping[str, Any]) -> ProxyHeaders:
    """Return what the headers of a request say about proxies. `meta` is that of the request."""
    addresses = [part for part in meta.get("HTTP_X_FORWARDED_FOR", "").split(",") if part.strip()]
    proto = meta.get("HTTP_X_FORWARDED_PROTO", "").strip().lower()
    if proto not in ("", "http", "https"):
        proto = "other"
    return ProxyHeaders(len(addresses), proto, tuple(name for key, name in _OTHERS.items() if meta.get(key)))


def as_json(headers: ProxyHeaders) -> str:
    return json.dumps(headers._asdict())


def from_json(text: str) -> ProxyHeaders:
    fields = json.loads(text)
    return ProxyHeaders(fields["addresses"], fields["proto"], tuple(fields["others"]))


def proxies(examination: Examination) -> Iterator[Finding]:
    """Compare TRUSTED_PROXY_COUNT with the headers of this request, or with those of the last page that was shown."""
    headers, when = examination.headers, "this request"
    if headers is None:
        noted = site_days.last_proxy_headers()
        if noted is None:
            yield Finding.fine(
                "traffic.proxies",
                "Proxies",
                f"TRUSTED_PROXY_COUNT is {settings.TRUSTED_PROXY_COUNT}; no page was opened yet that shows the headers",
            )
            return
        headers, when = from_json(noted.headers), f"the last page, of {noted.seen_on},"
    yield proxies_of(headers, when)


def proxies_of(headers: ProxyHeaders, when: str) -> Finding:
    name, title, trusted = "traffic.proxies", "Proxies", settings.TRUSTED_PROXY_COUNT
    text = f"{when} had {_in_words(headers)}; TRUSTED_PROXY_COUNT is {trusted}"
    count = headers.addresses
    if count and not trusted:
        return Finding.wrong(
            name,
            title,
            f"{text}: the site takes the proxy for the client, so all clients share one rate limit",
            f"Set TRUSTED_PROXY_COUNT to the number of your own proxies, probably {count}, and restart.",
        )
    if count < trusted:
        return Finding.wrong(
            name,
            title,
            f"{text}: the page bypassed a proxy, or a proxy does not append to X-Forwarded-For",
            "Open the site through the proxies only. Lower TRUSTED_PROXY_COUNT if there are fewer: a client can forge"
            " its address.",
        )
    if count > trusted:
        return Finding.look(
            name,
            title,
            f"{text}: a further proxy is in front, or the client sent the header itself",
            f"If {count} proxies are your own, set TRUSTED_PROXY_COUNT to {count}.",
        )
    if settings.HTTPS and headers.proto != "https":
        return Finding.wrong(
            name,
            title,
            f"{text}: SITE_URL is https, but no proxy says that the page was opened over HTTPS",
            "Let the proxy send X-Forwarded-Proto, set TRUSTED_PROXY_COUNT, and open the page at SITE_URL.",
        )
    if headers.others and not trusted:
        return Finding.look(
            name,
            title,
            f"{text}: a proxy is in front, but does not send X-Forwarded-For",
            "Let the proxy append to X-Forwarded-For, and set TRUSTED_PROXY_COUNT.",
        )
    return Finding.fine(name, title, text)


def _in_words(headers: ProxyHeaders) -> str:
    parts = []
    if headers.addresses:
        parts.append(f"X-Forwarded-For with {headers.addresses} address{'es' if headers.addresses > 1 else ''}")
    if headers.proto:
        parts.append(f"X-Forwarded-Proto {headers.proto}")
    parts += headers.others
    return ", ".join(parts) if parts else "no header of a proxy"


def refusals(examination: Examination) -> Iterator[Finding]:
    today = examination.now.date()
    tallies = metrics.tallies(today - timedelta(days=DAYS - 1), today + timedelta(days=1))
    duplicates = tallies.pop(_DUPLICATE, 0)
    largest = sorted(tallies.items(), key=lambda tally: (-tally[1], tally[0]))
    words = ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in largest[:SHOWN]) or "none"
    text = f"in {DAYS} days: {words}; duplicates {duplicates:,}"
    if own := [f"{reason}: {words}" for reason, words in _OF_THE_SITE.items() if tallies.get(reason)]:
        yield Finding.look(
            "traffic.refusals",
            "Refusals",
            f"{text} ({'; '.join(own)})",
            "The log of these times says more: docs/runbook.md, What to do on 503.",
        )
    elif tallies.get("origin"):
        yield Finding.look(
            "traffic.refusals",
            "Refusals",
            text,
            "Pages of other origins are refused. If one of them is yours, add it to ALLOWED_ORIGINS.",
        )
    else:
        yield Finding.fine("traffic.refusals", "Refusals", text)


def hosts(examination: Examination) -> Iterator[Finding]:
    """Count the requests with a refused `Host`. The names come from clients, so only the overview shows them."""
    since = examination.now.date() - timedelta(days=DAYS - 1)
    count = RefusedHost.objects.filter(seen_on__gte=since).aggregate(sum=Sum("count"))["sum"] or 0
    if count:
        yield Finding.look(
            "traffic.hosts",
            "Hosts",
            f"{count:,} requests in {DAYS} days had a Host that ALLOWED_HOSTS lacks",
            "The overview lists the names. If one is yours, add it to ALLOWED_HOSTS.",
        )
    else:
        yield Finding.fine("traffic.hosts", "Hosts", f"every request of {DAYS} days had an allowed Host")
