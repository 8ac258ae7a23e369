"""Every command and snippet of the README, run as a reader would."""

import os
import re
import shlex
import subprocess
import sys
import urllib.request
from importlib.metadata import entry_points
from pathlib import Path

import click
import cv2
import numpy as np
import pytest
import torch

from seg_core.models import build_model
from seg_core.spec import ModelSpec

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PLACEHOLDER = "path/to/data"
#: A reader trains for an hour; the test takes two steps.
SHORTER_TRAINING = (
    "solver.steps=2", "solver.batch_size=2", "solver.warmup_steps=1", "solver.precision=fp32", "data.workers=0",
    "preprocess.size_hw=[64, 64]", "device=cpu",
)  # fmt: skip


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands():
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith(("seg-", "torchrun "))]


def test_every_option_in_the_readme_exists():
    scripts = {entry.name: entry for entry in entry_points(group="console_scripts") if entry.name.startswith("seg-")}
    direct = [command for command in commands() if command[0] != "torchrun"]
    assert {command[0] for command in direct} == set(scripts)
    for name, *arguments in direct:
        command = scripts[name].load()
        if isinstance(command, click.Group):
            command = command.commands[arguments[0]]
        known = {option for parameter in command.params for option in parameter.opts}
        unknown = [word for word in arguments if word.startswith("-") and word not in known]
        assert not unknown, f"{name}: {unknown}"


def test_every_link_in_the_readme_leads_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def make_data(directory):
    for split in ("train", "val"):
        for index in range(2):
            rng = np.random.default_rng(index)
            for folder, pixels in (
                ("images", rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)),
                ("masks", rng.integers(0, 19, (64, 64), dtype=np.uint8)),
            ):
                (directory / split / folder).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(directory / split / folder / f"{index}.png"), pixels)


def make_part_masks(directory):
    """Draw four faces in the layout of CelebAMask-HQ."""
    for face in range(4):
        rng = np.random.default_rng(face)
        skin = np.zeros((32, 32, 3), np.uint8)
        skin[8:24, 4:20] = 255
        for path, pixels in (
            (directory / "CelebA-HQ-img" / f"{face}.jpg", rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)),
            (directory / "CelebAMask-HQ-mask-anno" / "0" / f"{face:05d}_skin.png", skin),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), pixels)


def make_foreign_checkpoint(path):
    """Write what the README calls 79999_iter.pth: the face-parsing BiSeNet's keys, with fresh weights."""
    torch.manual_seed(0)
    torch.save(build_model(ModelSpec("bisenet_v1_face", 19)).state_dict(), path)


def run(command, directory):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(command, cwd=directory, env=os.environ | {"PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"


def run_server(command, directory):
    """Run a command that serves until it is ended: its page must be there, or the line that says what is missing."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, "--port", "0"], cwd=directory, env=environment, **streams) as process:
        try:
            address = re.search(r"http://\S+", process.stdout.readline())
            if (ROOT / "mobile_demo" / "web" / "node_modules" / "onnxruntime-web").exists():
                assert address, process.stderr.read()
                with urllib.request.urlopen(address.group(), timeout=30) as page:
                    assert b"<title>" in page.read()
            else:
                assert "run  npm ci --prefix" in process.stderr.read()
        finally:
            process.terminate()


@pytest.mark.slow
@pytest.mark.export
@pytest.mark.timeout(600)
def test_every_command_of_the_readme_does_what_it_says(tmp_path):
    make_data(tmp_path / "data")
    make_part_masks(tmp_path / "CelebAMask-HQ")
    make_foreign_checkpoint(tmp_path / "79999_iter.pth")
    for name in ("mobile_demo", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    for command in commands():
        words = [word.replace(PLACEHOLDER, str(tmp_path / "data")) for word in command]
        if "seg-train" in words:
            words += [part for override in SHORTER_TRAINING for part in ("-o", override)]
        (run_server if words[0] == "seg-demo" else run)(words, tmp_path)
    for snippet in blocks("python"):
        run([sys.executable, "-c", snippet], tmp_path)
    made = {path.relative_to(tmp_path / "build").as_posix() for path in (tmp_path / "build").glob("*")}
    assert {"export", "latency.json", "obama.png", "carphone.mp4"} <= made
    for run_name in ("face_ddrnet23_slim_256", "two"):
        assert (tmp_path / "runs" / run_name / "best.pth").exists()
    assert len(list((tmp_path / "faces").rglob("*.jpg"))) == 4
    assert (tmp_path / "build" / "export" / "report.html").exists()
