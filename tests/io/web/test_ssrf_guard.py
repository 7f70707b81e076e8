"""What may be reached: addresses as they are written, as they resolve, and as the connection is made."""

import socket
import ssl
from datetime import UTC, datetime, timedelta

import httpcore
import pytest

from pipeline.io.web import connection_pool
from pipeline.io.web.client import WebClient
from pipeline.io.web.download_limits import DownloadLimits
from pipeline.io.web.fetch_errors import FetchError, RetryableFetchError
from pipeline.io.web.ssrf_guard import GuardedNetworkBackend, checked_url, require_public_address
from tests.replay import replay
from tests.web import DEFAULTS, collect_params, refusal


def _code(work) -> str:
    with pytest.raises(FetchError) as failure:
        work()
    return failure.value.code


def _backend(resolve, replay: tuple[str, int] | None = None) -> GuardedNetworkBackend:
    backend = GuardedNetworkBackend(resolve, replay)
    backend.limits = DownloadLimits(DEFAULTS.download)
    return backend


def _resolves_to(*addresses: str):
    """A resolver that gives these addresses for every name."""

    def resolve(host, port, *_, **__):
        kinds = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
        return [(kind, socket.SOCK_STREAM, 6, "", (address, port)) for kind, address in zip(kinds, addresses)]

    return resolve


@pytest.mark.parametrize(
    "address",
    [
        "ftp://example.org/a.jpg",
        "file:///etc/passwd",
        "gopher://example.org/",
        "data:image/png;base64,AA",
        "javascript:alert(1)",
        "//example.org/a.jpg",
        "example.org/a.jpg",
        "",
        "http://",
        "http:///a.jpg",
        "http://example.org:8080/",
        "http://example.org:22/",
        "https://example.org:99999/",
        "http://example.org:http/",
        "http://jane@example.org/",
        "http://jane:secret@example.org/",
        "http://example.org\\@127.0.0.1/",
        "http://exam ple.org/",
        "http://xn-- /",
        "http://example.org%0d%0aX:1/",
        "http://[::1/",
        "http://1[2.0.0.1/",
        "http://example.org/\r\nHost: other",
        "http://0177.0.0.1/",
        "http://１２７.0.0.1/",
    ],
)
def test_an_address_that_is_not_plainly_http_on_80_or_443_is_bad(address):
    assert _code(lambda: checked_url(address)) == "bad_address"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "127.0.0.1.",
        "0",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "2852039166",
        "100.64.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "192.88.99.1",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[fc00::1]",
        "[fec0::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a00:1]",
        "[::ffff:8.8.8.8]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[2001:db8::1]",
        "[100::1]",
    ],
)
def test_an_address_within_a_private_network_is_refused_in_whatever_notation(host):
    assert _code(lambda: checked_url(f"http://{host}/latest/meta-data")) == "private_address"


@pytest.mark.parametrize(
    "host", ["8.8.8.8", "commons.wikimedia.org", "[2606:4700::1111]", "[64:ff9b::808:808]", "xn--mnchen-3ya.de"]
)
def test_public_hosts_are_allowed_on_both_ports_by_both_schemes(host):
    for address in (f"http://{host}/a", f"https://{host}/a", f"http://{host}:443/a", f"https://{host}:80/a"):
        assert checked_url(address).path == "/a"


def test_a_checked_address_lacks_its_fragment_and_unseemly_characters():
    assert (
        str(checked_url(" https://example.org/Wüste 1.jpg?a=b c#top "))
        == "https://example.org/W%C3%BCste%201.jpg?a=b%20c"
    )


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "::ffff:10.0.0.7", "fd00::1"])
def test_a_name_that_resolves_to_a_private_address_is_refused_and_not_reached(address):
    with replay({}) as server:
        port = int(server.url.rpartition(":")[2])
        backend = _backend(_resolves_to(address))
        assert _code(lambda: backend.connect_tcp("harmless.example", port)) == "private_address"
        assert server.seen == []


def test_one_private_address_among_public_ones_makes_a_host_suspect():
    with pytest.raises(FetchError, match=r"two-faced\.example \(127\.0\.0\.1\)"):
        _backend(_resolves_to("93.184.216.34", "127.0.0.1")).connect_tcp("two-faced.example", 80)


def test_the_connection_goes_to_the_address_that_was_judged_although_the_name_changes_its_meaning(monkeypatch):
    meanings = iter([_resolves_to("93.184.216.34"), _resolves_to("127.0.0.1")])
    reached = []
    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", lambda _, host, port, patience: reached.append(host))
    _backend(lambda *args, **more: next(meanings)(*args, **more)).connect_tcp("rebinding.example", 443)
    assert reached == ["93.184.216.34"]


def test_the_next_address_is_tried_when_one_does_not_respond(monkeypatch):
    reached = []

    def connect(_, host, port, patience):
        reached.append(host)
        if host == "93.184.216.34":
            raise httpcore.ConnectError("unreachable")

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    _backend(_resolves_to("93.184.216.34", "2606:4700::1111")).connect_tcp("example.org", 443)
    assert reached == ["93.184.216.34", "2606:4700::1111"]


def test_the_replay_server_is_reached_and_nothing_else_on_this_machine():
    with replay({}) as server, replay({}) as other:
        port, forbidden = (int(one.url.rpartition(":")[2]) for one in (server, other))
        backend = _backend(_resolves_to("127.0.0.1"), ("127.0.0.1", port))
        backend.connect_tcp("127.0.0.1", port).close()
        assert _code(lambda: backend.connect_tcp("127.0.0.1", forbidden)) == "private_address"
        assert _code(lambda: backend.connect_tcp("localhost", port)) == "private_address"


def test_a_name_without_an_address_differs_from_a_network_that_is_down():
    def fails(error):
        def resolve(*_, **__):
            raise error

        return lambda: _backend(resolve).connect_tcp("example.invalid", 80)

    with pytest.raises(RetryableFetchError, match="is this machine on the net"):
        fails(socket.gaierror(socket.EAI_AGAIN, "Temporary failure"))()
    assert _code(fails(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))) == "no_such_host"
    assert _code(fails(UnicodeError("label too long"))) == "bad_address"
    assert _code(lambda: _backend(lambda *_, **__: []).connect_tcp("example.invalid", 80)) == "no_such_host"


def test_an_ipv4_address_behind_nat64_is_judged_as_the_ipv4_address():
    require_public_address("64:ff9b::808:808", "ipv6-only.example")
    with pytest.raises(FetchError, match="ipv6-only"):
        require_public_address("64:ff9b::a9fe:a9fe", "ipv6-only.example")


def _certificate(folder, host: str):
    """A key and a certificate that it signed itself, as one PEM file."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    today = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(today - timedelta(1)).not_valid_after(today + timedelta(1))
    certificate = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), False).sign(
        key, hashes.SHA256()
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    (folder / "host.pem").write_bytes(secret + certificate.public_bytes(pem))
    return folder / "host.pem"


def test_a_certificate_must_be_that_of_the_host_although_the_connection_goes_to_a_number(tmp_path, monkeypatch):
    pem = _certificate(tmp_path, "a.example")
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(pem)
    connect = httpcore.SyncBackend.connect_tcp
    with replay({"a.example/x": b"picture"}, tls=theirs) as server:
        port = int(server.url.rpartition(":")[2])
        monkeypatch.setattr(
            httpcore.SyncBackend, "connect_tcp", lambda us, _, __, wait: connect(us, "127.0.0.1", port, wait)
        )
        monkeypatch.setattr(connection_pool, "tls_context", lambda: ssl.create_default_context(cafile=pem))
        with WebClient(collect_params(attempts=1), tmp_path / "http", resolve=_resolves_to("93.184.216.34")) as web:
            assert web.download("https://a.example/a.example/x").content == b"picture"
            assert "Hostname mismatch" in refusal(web, "a.example/x", "b.example").sentence
