"""Sizes and orderings that hold for the whole repository."""

import ast
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["seg_core", "train/seg_train", "export/seg_export", "benchmarks/seg_bench", "mobile_demo/seg_demo"]
LARGEST_FILE = 16 * 1024 * 1024
LONGEST_SOURCE = 400


def repository_files():
    """What is in git or would be after `git add`; in an unpacked archive, what lies there."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, capture_output=True, text=True)
    names = done.stdout.split("\0")[:-1] if done.returncode == 0 else []
    found = [ROOT / name for name in names] or list(ROOT.rglob("*"))
    return [path for path in found if path.is_file()]


FILES = repository_files()
SOURCES = [path for path in FILES if path.suffix == ".py"]


def is_sorted(names):
    """Whether `names` stand as ruff's RUF022 wants them: CONSTANTS, Classes, functions, each alphabetically."""
    keys = [(0 if name.isupper() else 1 if name.strip("_")[0].isupper() else 2, name) for name in names]
    return keys == sorted(keys)


def exported(source):
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "__all__" for t in node.targets):
            return ast.literal_eval(node.value)
    return None


def test_no_file_is_larger_than_16_mb():
    assert len(FILES) > 20
    assert [(path.name, path.stat().st_size) for path in FILES if path.stat().st_size > LARGEST_FILE] == []


def test_no_source_is_longer_than_400_lines():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > LONGEST_SOURCE} == {}


@pytest.mark.parametrize(
    ("names", "right"), [(["B", "Ab", "a"], True), (["a", "B"], False), (["Ab", "B"], False), (["b", "a"], False)]
)
def test_order_of_names_is_judged(names, right):
    assert is_sorted(names) is right


def test_public_names_are_sorted_and_unique():
    lists = {path: exported(path) for path in SOURCES}
    lists = {path: names for path, names in lists.items() if names is not None}
    assert lists
    wrong = [
        str(p.relative_to(ROOT)) for p, names in lists.items() if not is_sorted(names) or len({*names}) < len(names)
    ]
    assert wrong == []


def test_outer_folders_are_no_packages():
    outer = {ROOT / package.split("/")[0] for package in PACKAGES if "/" in package}
    assert [folder.name for folder in outer if (folder / "__init__.py").exists()] == []


def test_no_catch_all_modules():
    catch_all = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert [str(p.relative_to(ROOT)) for p in FILES if catch_all & {p.stem, *p.relative_to(ROOT).parts[:-1]}] == []


def test_every_extra_reaches_all_or_dev():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]

    def reached(extra):
        inner = [item for item in extras[extra] if item.startswith("segproof[")]
        names = {name for item in inner for name in item.split("[")[1].rstrip("]").split(",")}
        return {extra} | {deeper for name in names for deeper in reached(name)}

    # `make` and CI install Core AI beside `dev`, where it has wheels at all (docs/adr/0006).
    assert reached("dev") | reached("coreai") == set(extras)
    assert "coreai" not in reached("dev")
