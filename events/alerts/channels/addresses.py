"""Which addresses alerts may be sent to: public ones, and those that ALERT_ALLOW_HOSTS names.

The judgement is about the address of a connection, not about a name. So neither a redirect nor a second answer of the
DNS (DNS rebinding) leads to a private network. This module imports nothing of Django.
"""

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

# The only IPv6 addresses that are routed in public. Everything outside is local, reserved or an embedded IPv4 address.
_ROUTED = IPv6Network("2000::/3")
_6TO4 = IPv6Network("2002::/16")
_NAT64 = IPv6Network("64:ff9b::/96")
_IPV4_BITS = 0xFFFF_FFFF

IPAddress = IPv4Address | IPv6Address


class AllowedHost(NamedTuple):
    """An entry of ALERT_ALLOW_HOSTS: a host name, an address or a network. None as port means every port."""

    host: str
    port: int | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.port and ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else host


class Allowance(NamedTuple):
    """A network that may be connected to, on one port or on all."""

    network: IPv4Network | IPv6Network
    port: int | None


def resolved(hosts: Iterable[AllowedHost]) -> list[Allowance]:
    """Return the networks of the entries. A name counts as the addresses that it has now; an unknown one has none."""
    allowances = []
    for host, port in hosts:
        try:
            allowances.append(Allowance(ip_network(host), port))
        except ValueError:
            allowances += [Allowance(ip_network(address), port) for address in _addresses_of(host)]
    return allowances


def may_connect(address: str, port: int, allowances: Iterable[Allowance] = ()) -> bool:
    """Return whether a connection is allowed. `address` is an IP address in text form; any other text is refused."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    target = embedded(found)
    return is_public(target) or any(
        target in allowance.network and allowance.port in (None, port) for allowance in allowances
    )


def is_public(address: IPAddress) -> bool:
    """Return whether an address is unicast and routed on the internet."""
    if isinstance(address, IPv6Address) and (address not in _ROUTED or address in _6TO4):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def embedded(address: IPAddress) -> IPAddress:
    """Return the IPv4 address that an IPv6 address leads to: a mapped one, or one behind NAT64. Else the address."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & _IPV4_BITS)
    return address


def _addresses_of(name: str) -> set[str]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    return {str(address[0]).partition("%")[0] for *_, address in found}
