"""`seg-data runs`: what runs reached, by recipe and over seeds."""

import json
from dataclasses import replace

import pytest
import small_runs
import torch
from click.testing import CliRunner

from seg_core.models.checkpoint import load_checkpoint, save_checkpoint
from seg_train.data_cli import data_command
from seg_train.engine import Trainer
from seg_train.parallel import Workers
from seg_train.run_records import SHOWN_STEPS, group_runs, read_run

pytestmark = pytest.mark.usefixtures("small_network")


@pytest.fixture(scope="module")
def root(tmp_path_factory, small_network):
    """Two seeds of a recipe, the second with other intervals of saving, and a run of another recipe."""
    root = tmp_path_factory.mktemp("runs")
    small_runs.draw_data(root)
    for name, seed, more in (("a", 0, {}), ("b", 1, {"save_every": 3}), ("other", 0, {"loss": {"dice": 0.5}})):
        config = small_runs.config_of(root, solver={"steps": 6, "seed": seed}, eval_every=2, log_every=1, **more)
        Trainer(config.model_copy(update={"output": root / name})).run()
    return root


class FourProcesses(Workers):
    """The first of four, with none to talk to."""

    @property
    def is_parallel(self):
        return False


def invoke(*arguments):
    return CliRunner().invoke(data_command, ["runs", *map(str, arguments)])


def test_a_record_is_what_the_run_wrote(root):
    record = read_run(root / "a")
    rows = json.loads((root / "a" / "history.json").read_text())
    assert record.evaluations == rows["evaluations"]
    assert record.best["miou"] == max(row["miou"] for row in rows["evaluations"])
    saved = load_checkpoint(root / "a" / "best.pth")
    assert (record.best["step"], record.best["miou"]) == (saved.provenance["step"], saved.metrics["val"]["miou"])
    written = record.to_json()
    assert (written["device"], written["train_images"], written["seed"]) == ("cpu", 8, 0)
    assert written["config"]["solver"]["steps"] == 6
    assert [row["step"] for row in written["evaluations"]] == [2, 4, 6]
    assert str(root) not in json.dumps(written)


def test_a_long_curve_is_thinned_to_its_end(root):
    record = read_run(root / "a")
    rows = [{"step": step, "step_ms": 1.0} for step in range(1, 4 * SHOWN_STEPS + 1)]
    shown = type(record)(record.directory, record.provenance, record.evaluations, rows).to_json()["steps"]
    assert [row["step"] for row in shown] == list(range(4, 4 * SHOWN_STEPS + 1, 4))


def test_seeds_of_a_recipe_are_told_together(root):
    first, second = group_runs(read_run(root / name) for name in ("a", "other", "b"))
    assert [run.directory.name for run in first.runs] == ["a", "b"]
    assert [run.directory.name for run in second.runs] == ["other"]
    mious = [read_run(root / name).best["miou"] for name in "ab"]
    told = first.to_json()
    assert told["seeds"] == [0, 1]
    assert (told["miou_min"], told["miou_max"]) == (min(mious), max(mious))
    assert told["miou_mean"] == pytest.approx(sum(mious) / 2)
    assert told["steps"] == 6


def test_how_steps_are_compiled_is_no_part_of_a_recipe(root):
    record = read_run(root / "a")
    solver = record.provenance["config"]["solver"]
    before = {key: value for key, value in solver.items() if key != "compile_options"}  # when there was no such key
    for other in ({"compile": "cuda_graphs", "compile_options": {"combo_kernels": True}}, before):
        changed = {"solver": other if other is before else solver | other}
        provenance = record.provenance | {"config": record.provenance["config"] | changed}
        assert replace(record, provenance=provenance).recipe() == record.recipe()


def test_of_how_many_processes_a_step_is_made_is_part_of_a_recipe(root, tmp_path):
    record = read_run(root / "a")
    assert record.to_json()["world_size"] == 1
    before = {key: value for key, value in record.provenance.items() if key != "world_size"}  # when it was not kept
    assert replace(record, provenance=before).recipe() == record.recipe()
    config = small_runs.config_of(root, output=str(tmp_path / "four"), solver={"steps": 1})
    trainer = Trainer(config, workers=FourProcesses(0, 4, torch.device("cpu")))
    trainer.run()
    provenance = read_run(tmp_path / "four").provenance
    assert provenance["world_size"] == 4
    other = replace(record, provenance=record.provenance | {"world_size": provenance["world_size"]})
    assert len(group_runs([record, other])) == 2


def test_what_is_done_to_the_data_is_part_of_a_recipe(root, tmp_path):
    config = small_runs.config_of(root, solver={"steps": 6}, eval_every=2, log_every=1, data={"repeat_rare": 0.9})
    Trainer(config.model_copy(update={"output": tmp_path / "repeated"})).run()
    recipes = group_runs([read_run(root / "a"), read_run(tmp_path / "repeated")])
    assert len(recipes) == 2
    assert recipes[1].runs[0].provenance["config"]["data"]["repeat_rare"] == 0.9
    assert recipes[1].runs[0].provenance["config"]["data"]["labels"] == "labels.json"


def test_the_command_prints_a_table_and_writes_a_file_a_run(root, tmp_path):
    result = invoke(root / "a", root / "b", root / "other", "--out", tmp_path / "results", "--json")
    assert result.exit_code == 0, result.output
    assert [recipe["runs"] for recipe in json.loads(result.stdout)["recipes"]] == [["a", "b"], ["other"]]
    lines = result.stderr.splitlines()
    assert lines[1].startswith("a and 1 more ")
    assert " – " in lines[1]
    assert "one seed" in lines[2]
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["a.json", "b.json", "other.json"]
    assert json.loads((tmp_path / "results" / "b.json").read_text()) == read_run(root / "b").to_json()


def test_what_is_no_finished_run_is_named(root, tmp_path):
    def line(*arguments):
        result = invoke(*arguments)
        assert result.exit_code == 1
        assert result.stderr.count("\n") == 1
        return result.stderr

    assert f"{tmp_path}: has no history.json" in line(tmp_path)
    (tmp_path / "history.json").write_text(json.dumps({"steps": [], "evaluations": []}))
    assert "was not evaluated yet" in line(tmp_path)
    (tmp_path / "history.json").write_text((root / "a" / "history.json").read_text())
    assert "best.pth: no such file" in line(tmp_path)
    save_checkpoint(tmp_path / "best.pth", replace(load_checkpoint(root / "a" / "best.pth"), provenance={}))
    assert "best.pth: does not say how it was trained" in line(tmp_path)
    assert "with the same seed, 0; leave one out" in line(root / "a", root / "a")


def test_two_runs_are_not_written_over_each_other(root, tmp_path):
    (tmp_path / "a").symlink_to(root / "other")
    (tmp_path / "twin").mkdir()
    (tmp_path / "twin" / "a").mkdir()
    for name in ("history.json", "best.pth"):
        (tmp_path / "twin" / "a" / name).symlink_to(root / "other" / name)
    result = invoke(root / "a", tmp_path / "twin" / "a", "--out", tmp_path / "results")
    assert result.exit_code == 1
    assert "a.json would be written twice" in result.stderr
    assert not (tmp_path / "results").exists()


def test_file_and_table_call_a_run_alike(root, tmp_path, monkeypatch):
    (tmp_path / "published").symlink_to(root / "other")
    result = invoke(tmp_path / "published", "--out", tmp_path / "results")
    assert result.exit_code == 0
    assert "published" in result.stderr + result.stdout
    assert json.loads((tmp_path / "results" / "published.json").read_text())["run"] == "published"
    monkeypatch.chdir(root / "a")
    assert invoke(".", "--out", tmp_path / "results").exit_code == 0
    assert (tmp_path / "results" / "a.json").is_file()
