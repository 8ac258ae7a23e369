"""Serve a site over HTTP or HTTPS, with the headers that let a page use threads and nothing else."""

from __future__ import annotations

import os
import shutil
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any, BinaryIO, ClassVar
from urllib.parse import unquote, urlsplit

from seg_core.errors import ConfigError
from seg_demo.site import Resource, Site

#: Nothing from elsewhere is loaded and nothing is sent elsewhere. WebAssembly may be compiled; pictures and videos
#: that the user opens are blobs.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self' blob:",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src blob: mediastream:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

#: What makes the page "cross-origin isolated", the condition for WebAssembly threads.
ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}

_YEAR_S = 31_536_000


class Handler(BaseHTTPRequestHandler):
    """Answer GET and HEAD from the table; everything else is refused."""

    protocol_version = "HTTP/1.1"
    server_version = "seg-demo"
    sys_version = ""
    timeout = 60
    site: ClassVar[Site] = {}
    extra_headers: ClassVar[dict[str, str]] = {}
    loopback_only: ClassVar[bool] = True

    def do_GET(self) -> None:
        """Send a resource."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Send a resource's headers."""
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Keep the terminal for the address and the QR code."""

    def _answer(self, with_body: bool) -> None:
        if self.loopback_only and not is_loopback(self.headers.get("Host", "")):
            # Another site's name that was made to point here (DNS rebinding).
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST)
            return
        resource = self.site.get(unquote(urlsplit(self.path).path))
        if resource is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        try:
            with _opened(resource) as (body, size, tag):
                self._send(resource, body if with_body else None, size, tag)
        except FileNotFoundError:
            self._refuse(HTTPStatus.GONE)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the visitor has left

    def _send(self, resource: Resource, body: BinaryIO | None, size: int, tag: str) -> None:
        fresh = self.headers.get("If-None-Match") == tag
        self.send_response(HTTPStatus.NOT_MODIFIED if fresh else HTTPStatus.OK)
        self.send_header("Content-Type", resource.content_type)
        self.send_header("ETag", tag)
        self.send_header("Cache-Control", f"max-age={_YEAR_S}, immutable" if resource.immutable else "no-cache")
        self._end(None if fresh else size)
        if body is not None and not fresh:
            shutil.copyfileobj(body, self.wfile, 1 << 20)

    def _refuse(self, status: HTTPStatus) -> None:
        text = f"{status.value} {status.phrase}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self._end(len(text))
        if self.command != "HEAD":
            self.wfile.write(text)

    def _end(self, size: int | None) -> None:
        if size is not None:
            self.send_header("Content-Length", str(size))
        for name, value in self.extra_headers.items():
            self.send_header(name, value)
        self.end_headers()


class SiteServer(ThreadingHTTPServer):
    """A thread a visitor, and a terminal that stays readable: visitors come and go as they like."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong here in one line, and nothing of what did at the visitor's end.

        Phones that do not trust the certificate, plain HTTP where TLS is spoken and connections that break are OSError
        without a file: the visitor sees them, and whoever reads the QR code can do nothing about them.
        """
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handle_error(request, client_address)
        elif error.filename is not None:
            sys.stderr.write(f"error: {error.filename}: cannot be sent ({error.strerror})\n")


@contextmanager
def _opened(resource: Resource) -> Iterator[tuple[BinaryIO, int, str]]:
    """Yield a resource's bytes as a stream, their number and an entity tag."""
    if resource.file is None:
        import hashlib
        import io

        tag = hashlib.sha256(resource.content).hexdigest()[:16]
        yield io.BytesIO(resource.content), len(resource.content), f'"{tag}"'
        return
    with resource.file.open("rb") as stream:
        found = os.fstat(stream.fileno())
        yield stream, found.st_size, f'"{found.st_mtime_ns:x}-{found.st_size:x}"'


def is_loopback(host: str) -> bool:
    """Return whether a Host header or address, with or without a port, names this machine itself."""
    name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") and host.count(":") != 2 else host
    name = name.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def create_server(
    site: Site, host: str, port: int, isolated: bool = True, certificate: tuple[Path, Path] | None = None
) -> ThreadingHTTPServer:
    """Return a server of `site`, bound but not yet serving.

    Port 0 takes a free one. `isolated` sends COOP and COEP. `certificate` (PEM certificate, PEM key) makes it HTTPS.
    Raises ConfigError when the address is taken or unknown, or the certificate is not one.
    """
    headers = HEADERS | (ISOLATION if isolated else {})
    fields = {"site": site, "extra_headers": headers, "loopback_only": is_loopback(host)}
    handler = type("SiteHandler", (Handler,), fields)
    try:
        server = SiteServer((host, port), handler)
    except OSError as error:
        raise ConfigError(
            f"--host {host} --port {port}: cannot listen there ({error.strerror}); --port 0 takes a free port, "
            "--host is an address of this machine"
        ) from None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(*certificate)
        except (OSError, ssl.SSLError) as error:
            server.server_close()
            raise ConfigError(f"{certificate[0]}, {certificate[1]}: no certificate and key in PEM ({error})") from None
        # The handshake is left to the visitor's own thread: a silent one must not hold the others up.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server
