"""Failed, interrupted and unproved exports leave nothing behind and keep the older good file."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from export_material import LABELS, Broken, Wrong

from seg_core.errors import ExportError
from seg_core.manifest import hash_artifact, load_manifest
from seg_export import install
from seg_export.overlays import OverlayWriter
from seg_export.report.page import save_report
from seg_export.targets.torchscript import TorchScriptTarget

pytestmark = pytest.mark.export


@pytest.fixture
def out_dir(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def to(exporter, monkeypatch):
    """Return the shared exporter writing to another directory."""

    def redirect(folder):
        monkeypatch.setattr(exporter, "out_dir", folder)
        return exporter

    return redirect


@pytest.fixture
def older(to, out_dir):
    """A good export that lies where the next one goes; its hash and the files around it."""
    result = to(out_dir).export(TorchScriptTarget())
    assert result.status == "ok"
    return listing(out_dir)


def listing(folder: Path) -> dict[str, str]:
    return {path.name: hash_artifact(path) for path in sorted(folder.iterdir())} if folder.exists() else {}


def test_a_failing_converter_leaves_nothing(to, out_dir):
    result = to(out_dir).export(Broken(RuntimeError("no such operator\nlong trace")))
    assert result.status == "failed"
    assert "conversion failed (RuntimeError: no such operator)" in result.error
    assert not out_dir.exists()


def test_a_failing_converter_keeps_the_older_file(to, out_dir, older):
    assert to(out_dir).export(Broken(ValueError("bad"))).status == "failed"
    assert listing(out_dir) == older
    load_manifest(out_dir / "net.pt")


def test_a_full_disk_is_one_line(to, out_dir, older):
    result = to(out_dir).export(Broken(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
    assert (
        result.error
        == f"{out_dir}: cannot be written (No space left on device); free space there or choose another --out DIR"
    )
    assert listing(out_dir) == older


@pytest.mark.parametrize("inside", ["", "obama.jpg"])
def test_what_hinders_the_overlays_takes_nothing_back(to, out_dir, inside):
    blocker = out_dir / "overlays" / inside
    blocker.parent.mkdir(parents=True)
    blocker.write_text("in the way")
    result = to(out_dir).export(TorchScriptTarget(), OverlayWriter(LABELS))
    assert (result.status, result.error) == ("ok", None)
    assert result.notes[-1].startswith(f"no overlays ({out_dir / 'overlays'}: is a file or lies in one")
    assert {"net.pt", "net.pt.json", "net.pt.parity.json"} <= set(listing(out_dir))
    assert blocker.read_text() == "in the way"


def test_the_checkpoint_is_not_replaced_by_what_is_made_of_it(to, reference, out_dir, monkeypatch):
    out_dir.mkdir()
    source = out_dir / "net.pt"
    shutil.copy(reference.path, source)
    monkeypatch.setattr(reference, "path", source)
    before = listing(out_dir)
    result = to(out_dir).export(TorchScriptTarget())
    assert result.status == "failed"
    assert result.error == f"{source}: is the checkpoint itself; choose another --out or --name"
    assert listing(out_dir) == before


def test_a_page_takes_the_place_of_no_artifact(tmp_path):
    artifact = tmp_path / "net.onnx"
    artifact.write_bytes(b"network")
    with pytest.raises(ExportError, match=r"net\.onnx: is there and no page; choose an --out that ends in \.html"):
        save_report(artifact, "<p>")
    assert artifact.read_bytes() == b"network"


def test_failed_parity_is_not_installed(to, out_dir, older):
    result = to(out_dir).export(Wrong())
    assert result.status == "parity"
    assert not result.parity.passed
    assert result.parity.outputs[0].max_abs_relative > 2e-5
    assert "the older file stays" in result.error
    assert listing(out_dir) == older


def test_failed_parity_in_a_new_directory_leaves_nothing(to, out_dir):
    assert to(out_dir).export(Wrong()).status == "parity"
    assert not out_dir.exists()


def test_interruption_passes_through_and_cleans_up(to, out_dir, older):
    with pytest.raises(KeyboardInterrupt):
        to(out_dir).export(Broken(KeyboardInterrupt()))
    assert listing(out_dir) == older


def test_export_again_replaces_the_older_file(to, out_dir, older, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert to(out_dir).export(TorchScriptTarget()).status == "ok"
    assert load_manifest(out_dir / "net.pt").provenance["created_utc"] == "1970-01-01T00:00:00Z"
    assert sorted(listing(out_dir)) == sorted(older)


PROGRAM = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell starts children with it ignored
from pathlib import Path
from seg_core.cli.command import SegCommand, click
from seg_export.install import work_directory

@click.command(cls=SegCommand)
@click.argument("out")
def main(out):
    with work_directory(Path(out)) as work:
        (work / "net.pt").write_bytes(b"half")
        print("ready", flush=True)
        time.sleep(60)

main()
"""


def stop_at_work(out_dir, how):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(out_dir)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.readline() == b"ready\n"
    assert list(out_dir.iterdir())
    time.sleep(0.1)
    process.send_signal(how)
    _, errors = process.communicate(timeout=20)
    return process.returncode, errors


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_process_leaves_nothing(tmp_path, how):
    assert stop_at_work(tmp_path / "new" / "out", how) == (130, b"interrupted\n")
    assert not (tmp_path / "new").exists()


def test_what_a_killed_process_left_is_swept_by_the_next(tmp_path):
    code, _ = stop_at_work(tmp_path / "out", signal.SIGKILL)
    assert code == -signal.SIGKILL
    (leftover,) = (tmp_path / "out").iterdir()
    with install.work_directory(tmp_path / "out") as mine, install.work_directory(tmp_path / "out") as another:
        assert not leftover.exists()
        assert mine.exists()  # its process lives, so the second one did not sweep it
        assert another != mine
    assert list((tmp_path / "out").iterdir()) == []


@pytest.fixture
def staged(tmp_path):
    """Three new files (one a package directory) and older versions of the first two."""
    new, out = tmp_path / "work", tmp_path / "out"
    for folder, names in ((new, ("a.bin", "b.mlpackage", "c.json")), (out, ("a.bin", "b.mlpackage"))):
        folder.mkdir()
        for name in names:
            path = folder / name
            if path.suffix == ".mlpackage":
                path.mkdir()
                path = path / "inside"
            path.write_text(f"{folder.name} {name}")
    return [new / name for name in ("a.bin", "b.mlpackage", "c.json")], out, new / "backup"


def test_install_moves_all(staged):
    files, out, backup = staged
    install.install_files(files, out, backup)
    assert (out / "a.bin").read_text() == "work a.bin"
    assert (out / "b.mlpackage" / "inside").read_text() == "work b.mlpackage"
    assert (out / "c.json").read_text() == "work c.json"


@pytest.mark.parametrize("failing", ["a.bin", "b.mlpackage", "c.json"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_install_restores_everything(staged, monkeypatch, failing, error):
    files, out, backup = staged
    before = listing(out)
    real = Path.replace

    def replace(self, destination):
        if self.name == failing and self.parent.name == "work":
            raise error
        return real(self, destination)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(ExportError if isinstance(error, OSError) else KeyboardInterrupt):
        install.install_files(files, out, backup)
    assert listing(out) == before


def test_work_directory_keeps_a_directory_that_was_there(tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    with install.work_directory(out) as work:
        shutil.copy2(__file__, work)
    assert list(out.iterdir()) == []
    assert out.exists()
