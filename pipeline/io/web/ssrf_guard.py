"""SSRF guard: only the public internet is reached, by http(s), never this machine or the networks behind it.

An address is checked three times: as it is written, after its name was resolved, and again on every redirect. The
connection is made to the very address that was checked, so a name that resolves differently in between gains nothing.
The proxies of the environment are not used, because they would resolve names out of sight.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import httpcore
import httpx

from pipeline.io.web.download_limits import CONNECT_SECONDS, DownloadLimits, MeteredStream
from pipeline.io.web.fetch_errors import FetchError, RetryableFetchError

Resolve = Callable[..., list[Any]]  # as socket.getaddrinfo
HOST = r"[a-z0-9._-]+|[0-9a-f:.]+(%25\w+)?"  # a name or an IPv6 address
PORTS = {None, 80, 443}
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits
UNICAST = ipaddress.ip_network("2000::/3")
NOT_HOSTS = [  # Teredo; 6to4 and its relays; protocol assignments, where clouds put services
    ipaddress.ip_network(text) for text in ("2001::/32", "2002::/16", "192.88.99.0/24", "192.0.0.0/24")
]
AZURE = ipaddress.ip_address("168.63.129.16")  # public by its number; metadata and DNS of every Azure machine
TEMPORARY = (socket.EAI_AGAIN,)


def checked_url(address: str) -> httpx.URL:
    """The address without its fragment, if it may be requested.

    Raises
    ------
    FetchError
        bad_address or private_address.
    """
    try:
        url = httpx.URL(address.strip())
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise FetchError("bad_address", f"{address[:200]!r} is not a web address ({error})") from None
    if problem := _problem(url):
        raise FetchError("bad_address", f"{address[:200]!r} {problem}")
    if literal := ip_literal(host_of(url)):
        require_public_address(literal, host_of(url))
    return url.copy_with(fragment=None) if url.fragment else url


def host_of(url: httpx.URL) -> str:
    """The host as it is looked up: lower case, and an international name in its ASCII form."""
    return url.raw_host.decode("ascii")


def _problem(url: httpx.URL) -> str:
    if url.scheme not in ("http", "https"):
        return "is not an http or https address"
    if not re.fullmatch(HOST, host_of(url)):
        return f"names no host, but {host_of(url)[:80]!r}" if url.raw_host else "names no host"
    if url.userinfo:
        return "carries a user's name"
    if url.port not in PORTS:
        return f"has port {url.port}; only 80 and 443 are allowed"
    return ""


def ip_literal(host: str) -> str:
    """The IP address that a host writes out, also as 0x7f000001, 017700000001 or 127.1; empty when it is a name."""
    host = host.rstrip(".")
    with suppress(ValueError):
        return str(ipaddress.ip_address(host))
    with suppress(OSError, ValueError):
        return socket.inet_ntoa(socket.inet_aton(host))
    return ""


def require_public_address(address: str, host: str) -> None:
    """FetchError (private_address) unless an IP address is one of the public internet."""
    if not _is_public(ipaddress.ip_address(address)):
        what = host if host == address else f"{host} ({address})"
        raise FetchError("private_address", f"{what} is not an address of the public internet; no other is requested")


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if address in NAT64:
        return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    if address.version == 6 and address not in UNICAST:  # among others every IPv4 address written as IPv6
        return False
    if address == AZURE or any(address in network for network in NOT_HOSTS):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Created once: reading the certificates takes 20 ms."""
    return httpx.create_ssl_context()


class GuardedNetworkBackend(httpcore.NetworkBackend):
    """Opens connections: to checked public addresses, or to the replay server and nothing else.

    `limits` are those of the download that uses the connection now.
    """

    limits: DownloadLimits

    def __init__(self, resolve: Resolve, replay: tuple[str, int] | None) -> None:
        self._resolve, self._replay, self._network = resolve, replay, httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> MeteredStream:
        addresses = [host] if (host, port) == self._replay else self._public_addresses(host, port)
        for address in addresses[:-1]:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return self._connect(address, port)
        return self._connect(addresses[-1], port)

    def _connect(self, address: str, port: int) -> MeteredStream:
        seconds = self.limits.timeout(CONNECT_SECONDS)
        return MeteredStream(self._network.connect_tcp(address, port, seconds), self)

    def _public_addresses(self, host: str, port: int) -> list[str]:
        """All addresses of a host; one that is not public is enough to refuse the host altogether."""
        if self._replay:
            raise FetchError("private_address", f"{host} is not requested while a replay server stands for it")
        found = list(dict.fromkeys(entry[4][0] for entry in self._lookup(host, port)))
        for address in found:
            require_public_address(address, host)
        if not found:
            raise FetchError("no_such_host", f"{host} has no address")
        return found

    def _lookup(self, host: str, port: int) -> list[Any]:
        try:
            return self._resolve(host, port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            text = f"{host} cannot be found ({error.strerror})"
            if error.errno in TEMPORARY:
                raise RetryableFetchError("no_such_host", f"{text}; is this machine on the net?") from None
            raise FetchError("no_such_host", text) from None
        except UnicodeError:
            raise FetchError("bad_address", f"{host[:80]!r} cannot be the name of a host") from None
