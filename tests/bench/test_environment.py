"""Which source a measurement says that it was made with."""

import importlib.util
import shutil
import subprocess

import pytest

from seg_bench import environment


@pytest.fixture
def tree(tmp_path):
    """A repository of its own with a copy of the module, which speaks of the tree that it lies in."""
    (tmp_path / "package").mkdir()
    shutil.copy(environment.__file__, tmp_path / "package" / "environment.py")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.json").write_text("{}")
    for arguments in (
        ("init", "--quiet"),
        ("add", "."),
        ("-c", "user.name=a", "-c", "user.email=a@b.example", "commit", "--quiet", "--message", "All"),
    ):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True)
    return tmp_path


def read(tree, *written):
    spec = importlib.util.spec_from_file_location("copied_environment", tree / "package" / "environment.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.read_environment(written)
    return found.commit, found.dirty


def test_a_committed_tree_is_clean(tree):
    commit, dirty = read(tree)
    assert (len(commit), dirty) == (40, False)


def test_a_changed_source_is_dirty_whatever_is_written(tree):
    source = tree / "package" / "environment.py"
    source.write_text(source.read_text() + "# changed\n")
    assert read(tree)[1] is True
    assert read(tree, tree / "results" / "a.json")[1] is True


def test_what_the_measurement_writes_makes_nothing_dirty(tree):
    result = tree / "results" / "a.json"
    result.write_text("[]")
    assert read(tree)[1] is True
    assert read(tree, result)[1] is False
    assert read(tree, tree / "results" / "b.json")[1] is True
    assert read(tree, result, tree.parent / "elsewhere.json")[1] is False


def test_a_tree_without_git_has_no_commit(tree):
    shutil.rmtree(tree / ".git")
    assert read(tree) == (None, None)
