"""What a user gets from `pip install`: the five packages and nothing else."""

import zipfile

import pytest

pytestmark = pytest.mark.slow

PACKAGES = {"seg_core", "seg_train", "seg_export", "seg_bench", "seg_demo"}
NEVER_INSIDE = {".pth", ".pt", ".onnx", ".tflite", ".mlpackage", ".png", ".jpg", ".mp4", ".ipynb", ".pyc"}


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_top_level_names_are_the_five_packages(names):
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES
    assert len(tops) == len(PACKAGES) + 1


def test_no_checkpoint_sample_or_test_is_inside(names):
    inside = [name for name in names if "." + name.rsplit(".", 1)[-1] in NEVER_INSIDE]
    assert inside == []
    assert [name for name in names if "test" in name.lower()] == []


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_types_are_announced(names, package):
    assert f"{package}/py.typed" in names


def test_every_source_file_is_in_the_wheel(names, root, pyproject):
    folders = [root / folder for folder in pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
    wanted = {source.relative_to(folder.parent).as_posix() for folder in folders for source in folder.rglob("*.py")}
    assert len(wanted) > len(PACKAGES)
    assert wanted - set(names) == set()


def test_licence_travels_along(names, wheel):
    with zipfile.ZipFile(wheel) as archive:
        (licence,) = [name for name in names if name.endswith("licenses/LICENSE")]
        assert b"Apache License" in archive.read(licence)[:200]


def test_size_is_that_of_source_code(wheel):
    assert wheel.stat().st_size < 1_000_000
