"""The address that a phone on the same network types or scans, and a certificate for it."""

from __future__ import annotations

import datetime
import socket
from ipaddress import ip_address
from pathlib import Path

from seg_core.errors import ConfigError, MissingDependencyError

_WHITE_ON_BLACK, _RESET = "\033[97;40m", "\033[0m"
_VALID = datetime.timedelta(days=30)


def reachable_host(host: str) -> str:
    """Return what others call this machine: `host`, or for 0.0.0.0 and :: the address of the way out."""
    if host not in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # RFC 5737's test network: UDP sends nothing here, it only picks a route
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])


def make_url(host: str, port: int, secure: bool) -> str:
    """Return the address of the page."""
    name = f"[{host}]" if ":" in host else host
    return f"{'https' if secure else 'http'}://{name}:{port}/"


def draw_qr(url: str) -> str:
    """Return a QR code of `url` for a terminal, in half blocks; raises MissingDependencyError without segno.

    Its colours are stated (ECMA-48), as cameras do not all read the negative that a light terminal would show.
    """
    try:
        import segno
    except ImportError:
        raise MissingDependencyError("segno", "a QR code of the address", "segproof[demo]") from None
    import io

    stream = io.StringIO()
    segno.make(url, micro=False).terminal(stream, compact=True)
    return "\n".join(f"{_WHITE_ON_BLACK}{line}{_RESET}" for line in stream.getvalue().splitlines())


def write_certificate(directory: Path, host: str) -> tuple[Path, Path]:
    """Write a self-signed certificate for `host` and localhost into `directory`; return it and its key (PEM).

    Raises MissingDependencyError without cryptography, ConfigError when the directory cannot be written.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        raise MissingDependencyError("cryptography", "--https without --certificate", "segproof[demo]") from None
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "seg-demo")])
    now = datetime.datetime.now(datetime.UTC)
    try:
        own: x509.GeneralName = x509.IPAddress(ip_address(host))
    except ValueError:
        own = x509.DNSName(host)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName([own, x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "certificate.pem", directory / "key.pem"
    try:
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].touch(mode=0o600)
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    except OSError as error:
        raise ConfigError(f"{directory}: the certificate cannot be written ({error})") from None
    return paths
