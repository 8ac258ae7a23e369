"""`seg-demo`: run an exported network in a browser, on this machine or on a phone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from seg_core.cli.command import SegCommand, click
from seg_core.errors import ConfigError, MissingDependencyError

if TYPE_CHECKING:
    from seg_core.manifest import Manifest

_EXAMPLES = (
    "seg-demo build/export/model.onnx",
    "seg-demo build/export/model.tflite --port 9000",
    "seg-demo build/export/model.onnx --host 0.0.0.0 --https   (a phone on the same network)",
)


@click.command("seg-demo", cls=SegCommand, examples=_EXAMPLES)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 is every one.")
@click.option("--https", is_flag=True, help="Encrypt, with a certificate made for this run.")
@click.option("--certificate", type=click.Path(path_type=Path), help="PEM certificate of your own, with --key.")
@click.option("--key", type=click.Path(path_type=Path), help="PEM key of --certificate.")
@click.option("--isolation/--no-isolation", default=True, show_default=True,
              help="Send the headers that WebAssembly threads need.")  # fmt: skip
@click.option("--web", type=click.Path(path_type=Path), help="Folder of the page, by default this checkout's.")
def demo_command(
    model: Path, port: int, host: str, https: bool, certificate: Path | None, key: Path | None,
    isolation: bool, web: Path | None,
) -> None:  # fmt: skip
    """Serve a page that runs MODEL (.onnx or .tflite, with its manifest) on photos, videos and the camera.

    Everything runs in the browser: no picture leaves the device. Browsers give the camera to localhost and https
    only, and let a page work offline only where its certificate is trusted. The address is printed; Ctrl-C ends it.
    """
    from seg_core.manifest import load_manifest
    from seg_demo.address import make_url, reachable_host, write_certificate
    from seg_demo.server import create_server, is_loopback
    from seg_demo.site import WEB_DIRECTORY, build_site

    if (certificate is None) != (key is None):
        raise ConfigError("--certificate and --key: give both or none")
    manifest = load_manifest(model)
    site = build_site(model, manifest, _compute_golden(model, manifest), web or WEB_DIRECTORY)
    name = reachable_host(host)
    pair = (certificate, key) if certificate is not None and key is not None else None
    with tempfile.TemporaryDirectory() as directory:
        if https and pair is None:
            pair = write_certificate(Path(directory), name)
        server = create_server(site, host, port, isolation, pair)
    url = make_url(name, server.server_port, pair is not None)
    click.echo(f"serving {model.name} at {url}  (Ctrl-C ends it)")
    if not is_loopback(host):
        _invite(url, secure=pair is not None, trusted=certificate is not None)
    with server:
        server.serve_forever()


def _compute_golden(model: Path, manifest: Manifest) -> str | None:
    """Return golden labels, or None with a note where the runtime of `model` is not installed."""
    from seg_demo.golden import compute_golden

    try:
        return compute_golden(model, manifest)
    except MissingDependencyError as error:
        click.echo(f"note: the page will check itself without Python's labels: {error}", err=True)
        return None


def _invite(url: str, secure: bool, trusted: bool) -> None:
    """Print a QR code of `url` and what a phone will say to it."""
    from seg_demo.address import draw_qr

    try:
        click.echo(draw_qr(url))
    except MissingDependencyError as error:
        click.echo(f"note: {error}", err=True)
    if secure and not trusted:
        click.echo("the certificate was made for this run and nobody trusts it: accept the browser's warning once")
    elif not secure:
        click.echo(
            "note: without --https a phone's browser gives this page no camera; photos and videos work", err=True
        )
