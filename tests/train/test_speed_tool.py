"""`seg-data measure-speed` on a CPU: variants in turns, on drawn batches and from files."""

import itertools
import json
import sys

import pytest
import small_runs
import torch
from click.testing import CliRunner

from seg_train.data_cli.measure_speed import measure_speed_command
from seg_train.parallel import Workers
from seg_train.speed import VARIANTS, measure_steps

pytestmark = pytest.mark.usefixtures("small_network")


@pytest.fixture
def config(tmp_path):
    small_runs.draw_data(tmp_path)
    return small_runs.write_config(tmp_path, augment={"crop_hw": [32, 48]})


def invoke(*arguments):
    return CliRunner().invoke(measure_speed_command, [*map(str, arguments), "--rounds", "2", "--steps", "2"])


def test_variants_are_measured_and_written(config, tmp_path):
    output = tmp_path / "speed.json"
    result = invoke(config, "--variant", "eager fp32", "--variant", "eager bf16", "--output", output, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer == json.loads(output.read_text())
    assert (answer["model"], answer["size_hw"], answer["batch_size"], answer["world_size"]) == (
        small_runs.NETWORK, [32, 48], 2, 1,
    )  # fmt: skip
    assert answer["exchange"] == "fp32"
    assert [speed["name"] for speed in answer["speeds"]] == ["eager fp32", "eager bf16"]
    for speed in answer["speeds"]:
        assert len(speed["rounds_ms"]) == 2
        assert min(speed["rounds_ms"]) <= speed["step_ms"] <= max(speed["rounds_ms"])
        assert speed["images_per_s"] == pytest.approx(2e3 / speed["step_ms"], rel=1e-2)


def test_loading_is_measured_beside_drawn_batches(config):
    result = invoke(config, "--from-files", "--variant", "eager fp32")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split()[:4] == ["variant", "ms", "a", "step"]
    assert [line[:13].strip() for line in lines[1:]] == ["drawn batches", "from files", "loader alone"]


def test_a_loader_is_measured_without_a_step(config, monkeypatch):
    def refuse(*_):
        raise AssertionError("a step was built")

    monkeypatch.setattr("seg_train.speed.Stepper", refuse)
    result = invoke(config, "--loader-alone", "--json")
    assert result.exit_code == 0, result.output
    (speed,) = json.loads(result.stdout)["speeds"]
    assert (speed["name"], len(speed["rounds_ms"])) == ("loader alone", 2)
    assert speed["images_per_s"] == pytest.approx(2e3 / speed["step_ms"], rel=1e-2)


def test_a_step_takes_all_the_batches_it_accumulates(config, monkeypatch):
    from seg_train import speed

    monkeypatch.setattr(speed, "WARM_STEPS", 2)
    drawn, ticks = [], itertools.count()

    def counted(*arguments, **options):
        return (drawn.append(batch) or batch for batch in prefetch(*arguments, **options))

    prefetch = speed.prefetch
    monkeypatch.setattr(speed, "prefetch", counted)
    monkeypatch.setattr(speed.time, "perf_counter", lambda: len(drawn) + 1e-6 * next(ticks))  # a batch takes a second
    for arguments in (["--from-files", "--variant", "eager fp32"], ["--loader-alone"]):
        drawn.clear()
        result = invoke(config, *arguments, "-o", "solver.accumulate=3", "--json")
        assert result.exit_code == 0, result.output
        alone = json.loads(result.stdout)["speeds"][-1]
        assert alone["step_ms"] == pytest.approx(3e3, rel=1e-3)
        assert alone["images_per_s"] == pytest.approx(2, abs=0.1)  # batches of two
        assert len(drawn) == 2 * (2 + 2) * 3 * (2 if "--from-files" in arguments else 1)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--variant", "fastest"], "'fastest'; known: eager fp32"),
        (["--rounds", "0"], "0 is not in the range x>=1"),
        (["--loader-alone", "--from-files"], "--loader-alone takes no step"),
        (["--from-files", "--variant", "eager fp32", "--variant", "eager bf16"], "--from-files measures one variant"),
    ],
)
def test_wrong_usage_is_named(config, arguments, text):
    result = CliRunner().invoke(measure_speed_command, [str(config), *arguments])
    assert result.exit_code == 2
    assert text in result.stderr


def test_a_machine_without_torch_gets_one_line(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    result = invoke(config)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: measuring training steps needs the package 'torch'")
    assert result.stderr.count("\n") == 1


def test_what_is_timed_is_the_step_of_the_engine_and_is_freed(config, tmp_path, monkeypatch):
    closed, steps = [], []
    from seg_train import speed

    class Counted(speed.Stepper):
        def step(self, batches):
            steps.append(self.options.precision)
            return super().step(batches)

        def close(self):
            closed.append(self.options.precision)
            super().close()

    monkeypatch.setattr(speed, "Stepper", Counted)
    place = Workers(0, 1, torch.device("cpu"))
    names = ["eager fp32", "eager bf16"]
    measure_steps(small_runs.config_of(tmp_path, data={}), place, names, rounds=2, steps=3, warmup=1)
    assert steps == ["fp32", "bf16", *(["fp32"] * 3 + ["bf16"] * 3) * 2]  # warmed up, then in turns
    assert closed == ["fp32", "bf16"]
    assert set(names) <= set(VARIANTS)
