"""Which addresses are public, and what an entry of ALERT_ALLOW_HOSTS adds."""

import pytest

from events.alerts.channels import addresses
from events.alerts.channels.addresses import AllowedHost, may_connect, resolved

PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
PRIVATE = [
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1", "192.168.1.1",
    "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1", "2002:7f00:1::1", "2002:a9fe:a9fe::1", "2001:0:7f00:1::1", "100::1",
]  # fmt: skip
NO_ADDRESSES = ["", "localhost", "127.1", "0x7f000001", "2130706433", "017700000001", "1.1.1.1 ", "a.internal"]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_connected_to(address: str) -> None:
    assert may_connect(address, 443)


@pytest.mark.parametrize("address", [*PRIVATE, *NO_ADDRESSES])
def test_any_other_address_may_not(address: str) -> None:
    assert not may_connect(address, 443)


@pytest.mark.parametrize(
    ("host", "port", "address", "at", "expected"),
    [
        ("10.1.0.0/16", None, "10.1.2.3", 80, True),
        ("10.1.0.0/16", None, "10.2.0.1", 80, False),
        ("10.1.2.3", 8080, "10.1.2.3", 8080, True),
        ("10.1.2.3", 8080, "10.1.2.3", 22, False),
        ("10.1.2.3", None, "::ffff:10.1.2.3", 80, True),
        ("fd00::/8", None, "fd00::1", 80, True),
        ("localhost", 25, "127.0.0.1", 25, True),
        ("localhost", 25, "127.0.0.1", 26, False),
        ("no-such-host.invalid", None, "127.0.0.1", 25, False),
    ],
)
def test_an_entry_allows_its_network_on_its_port(
    host: str, port: int | None, address: str, at: int, expected: bool
) -> None:
    assert may_connect(address, at, resolved([AllowedHost(host, port)])) is expected


@pytest.mark.parametrize(
    ("host", "words"),
    [(("10.0.0.0/8", None), "10.0.0.0/8"), (("fd00::1", 80), "[fd00::1]:80"), (("localhost", 25), "localhost:25")],
)
def test_an_entry_is_shown_as_it_was_set(host: tuple[str, int | None], words: str) -> None:
    assert str(addresses.AllowedHost(*host)) == words
