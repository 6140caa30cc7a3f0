"""Whose address a request has behind proxies: what the client wrote into X-Forwarded-For is never believed."""

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, override_settings

from telemetry_site.middleware import ClientAddress

PROXY = "10.0.0.9"


def address(forwarded: str | None, proxies: int) -> str:
    """Return the client's address of a request that the proxy at 10.0.0.9 handed on."""
    seen: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(request.META["REMOTE_ADDR"])
        return HttpResponse()

    headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
    with override_settings(TRUSTED_PROXY_COUNT=proxies):
        ClientAddress(view)(RequestFactory().get("/", headers=headers, REMOTE_ADDR=PROXY))
    return seen[0]


@pytest.mark.parametrize(
    ("forwarded", "proxies", "expected"),
    [
        # one proxy: the last value is what it saw
        ("192.0.2.1", 1, "192.0.2.1"),
        ("203.0.113.66, 192.0.2.1", 1, "192.0.2.1"),
        ("127.0.0.1,10.0.0.9,203.0.113.66,192.0.2.1", 1, "192.0.2.1"),
        # two proxies: the last but one
        ("192.0.2.1, 10.0.0.8", 2, "192.0.2.1"),
        ("203.0.113.66, 192.0.2.1, 10.0.0.8", 2, "192.0.2.1"),
        # fewer values than proxies: it came around one of them, so nothing in it is known to be true
        ("192.0.2.1", 2, PROXY),
        (None, 1, PROXY),
        ("", 1, PROXY),
        # what is no address
        ("unknown", 1, PROXY),
        ("192.0.2.1, unknown", 1, PROXY),
        ("192.0.2.1,", 1, PROXY),
        ("999.0.2.1", 1, PROXY),
        ("192.0.2.01", 1, PROXY),
        ("192.0.2.1.evil.example", 1, PROXY),
        ("2001", 1, PROXY),
        ("3232235777", 1, PROXY),
        ("[", 1, PROXY),
        ("[]", 1, PROXY),
        (":", 1, PROXY),
        ("é\x00", 1, PROXY),
        (",".join(["192.0.2.1"] * 5_000), 1, "192.0.2.1"),
        # IPv6, ports, spaces
        ("2001:db8::1", 1, "2001:db8::1"),
        ("2001:DB8:0:0::1", 1, "2001:db8::1"),
        ("[2001:db8::1]", 1, "2001:db8::1"),
        ("[2001:db8::1]:4711", 1, "2001:db8::1"),
        ("192.0.2.1:4711", 1, "192.0.2.1"),
        ("203.0.113.66 ,\t192.0.2.1 ", 1, "192.0.2.1"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_only_what_trusted_proxies_appended_is_believed(forwarded: str | None, proxies: int, expected: str) -> None:
    assert address(forwarded, proxies) == expected


@pytest.mark.django_db
@override_settings(TRUSTED_PROXY_COUNT=0, READ_RATE="1/d")
def test_without_a_proxy_the_header_is_nobody_s_address() -> None:
    client = Client()
    for number, status in ((1, 200), (2, 429)):
        answer = client.get("/metrics/flash-count", headers={"x-forwarded-for": f"192.0.2.{number}"})
        assert answer.status_code == status


@pytest.mark.django_db
@override_settings(TRUSTED_PROXY_COUNT=1, READ_RATE="1/d")
def test_behind_a_proxy_each_client_has_a_limit_of_its_own_and_forging_helps_nobody() -> None:
    client = Client()
    for forwarded, status in (("192.0.2.1", 200), ("192.0.2.2", 200), ("203.0.113.1, 192.0.2.1", 429)):
        answer = client.get("/metrics/flash-count", headers={"x-forwarded-for": forwarded})
        assert answer.status_code == status


@pytest.mark.django_db
@override_settings(TRUSTED_PROXY_COUNT=2, READ_RATE="1/d")
@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        # what stands before the trusted values changes nothing, however much of it there is
        ("192.0.2.1, 10.0.0.8", "203.0.113.9, 192.0.2.1, 10.0.0.8", 429),
        ("192.0.2.1, 10.0.0.8", f"{'203.0.113.9,' * 500}192.0.2.1, 10.0.0.8", 429),
        ("192.0.2.1, 10.0.0.8", "192.0.2.2, 10.0.0.8", 200),
        # a network of IPv6 is one client, with brackets and ports or without
        ("2001:db8:0:1::1, 10.0.0.8", "[2001:db8:0:1:ffff::9]:4711, 10.0.0.8", 429),
        ("2001:db8:0:1::1, 10.0.0.8", "2001:db8:0:2::1, 10.0.0.8", 200),
        ("::ffff:192.0.2.1, 10.0.0.8", "192.0.2.1:80, 10.0.0.8", 429),
        # missing, short and malformed all count as the proxy that brought them, so nobody gains by leaving it out
        ("", "192.0.2.7", 429),
        ("unknown, 10.0.0.8", "é\x00, 10.0.0.8", 429),
        ("unknown, 10.0.0.8", "192.0.2.1, 10.0.0.8", 200),
    ],
    ids=lambda value: str(value)[:40],
)
def test_behind_two_proxies_a_client_is_who_the_outer_one_saw(first: str, second: str, status: int) -> None:
    client = Client()
    for forwarded, expected in ((first, 200), (second, status)):
        answer = client.get("/metrics/flash-count", headers={"x-forwarded-for": forwarded}, REMOTE_ADDR=PROXY)
        assert answer.status_code == expected
