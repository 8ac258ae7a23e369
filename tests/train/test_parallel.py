"""Two processes on the CPU, as torchrun starts them, do together what one does."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import parallel_probe
import pytest
import small_runs
import torch

from seg_core.config.schema import SolverSection
from seg_core.errors import CheckpointError, ConfigError
from seg_core.models.checkpoint import load_checkpoint
from seg_train.build import synchronised
from seg_train.engine import Trainer
from seg_train.parallel import Workers, workers

pytestmark = pytest.mark.usefixtures("small_network")

HERE = Path(__file__).parent
ALONE = Workers(0, 1, torch.device("cpu"))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def launch(*arguments, timeout=120):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run(
        [*command, "--master-port", str(free_port()), *map(str, arguments)],
        env=environment, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("parallel")
    small_runs.draw_data(root)
    done = launch(HERE / "parallel_probe.py", root)
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="module")
def answers(root):
    return [torch.load(root / f"rank{rank}.pt", weights_only=False) for rank in (0, 1)]


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)


def test_both_processes_end_with_the_same_weights_averages_and_statistics(answers):
    for part in ("weights", "average"):
        first, second = (answer[part] for answer in answers)
        assert all(torch.equal(first[name], second[name]) for name in first), part
    assert answers[0]["weights"]["body.1.running_mean"].any()


def test_both_end_with_the_same_weights_when_gradients_are_exchanged_as_bf16(answers):
    for part in ("weights", "average"):
        first, second = (answer["bf16"][part] for answer in answers)
        assert all(torch.equal(first[name], second[name]) for name in first), part
    weights, plain = answers[0]["bf16"]["weights"], answers[0]["weights"]
    assert not torch.equal(weights["scores.weight"], plain["scores.weight"])
    torch.testing.assert_close(weights["scores.weight"], plain["scores.weight"], rtol=0.05, atol=1e-3)
    statistics = weights["body.1.running_mean"]  # exchanged as they are
    assert not torch.equal(statistics, statistics.bfloat16().float())


def test_gradients_sent_as_bf16_have_the_mean_of_bf16_numbers(answers):
    drawn = [parallel_probe.draw_gradients(rank) for rank in (0, 1)]
    for answer in answers:
        found, exact = answer["exchanged"][torch.bfloat16], answer["exchanged"][torch.float32]
        for mean, unrounded, mine, theirs in zip(found, exact, *drawn, strict=True):
            assert mean.dtype == torch.float32
            # Summed once, and rounded to 8 binary digits.
            torch.testing.assert_close(mean, (mine.bfloat16().float() + theirs.bfloat16()) / 2, rtol=2**-8, atol=0)
            assert torch.equal(mean, mean.bfloat16().float())
            assert not torch.equal(mean, unrounded)


@pytest.mark.parametrize("dtype", [None, torch.float32])
def test_gradients_sent_as_float32_have_the_mean_to_the_bit(answers, dtype):
    expected = [(mine + theirs) / 2 for mine, theirs in zip(*map(parallel_probe.draw_gradients, (0, 1)), strict=True)]
    for answer in answers:
        found = answer["exchanged"][dtype]
        assert all(torch.equal(mean, value) for mean, value in zip(found, expected, strict=True))


def test_what_is_saved_is_what_both_have(root, answers):
    saved = load_checkpoint(root / "run" / "last.pth").state_dict
    for name, value in saved.items():
        torch.testing.assert_close(value.float(), answers[1]["average"][f"module.{name}"].float(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["step", "accumulated"])
def test_a_step_of_two_processes_with_four_pictures_is_one_of_one_process_with_eight(answers, kind):
    alone = parallel_probe.one_step(ALONE)
    before = parallel_probe.build(norm=False).state.model.state_dict()
    assert not torch.equal(alone["scores.weight"], before["scores.weight"])
    for answer in answers:
        assert_close(answer[kind], alone)


def test_a_loss_that_is_no_number_in_one_process_leaves_the_step_out_in_both(answers):
    before = parallel_probe.build().state.model.state_dict()["scores.weight"]
    for answer in answers:
        (first, weight), second = answer["left_out"]
        assert first
        assert torch.equal(weight, before)
        assert not second


@pytest.mark.parametrize(("which", "count"), [(0, 5), (1, 1)])
def test_scores_are_summed_over_processes_whose_shares_differ(answers, which, count):
    expected, shown = parallel_probe.scored(ALONE, count)
    assert expected.sum() == count * 64
    assert count == 1 or (expected[0] > 0).sum() == 2
    for answer in answers:
        assert (answer["scored"][which][0] == expected).all()
    assert shown == min(4, count)
    assert [answer["scored"][which][1] for answer in answers] == ([3, 2] if count == 5 else [1, 0])


def test_all_begin_with_the_weights_of_the_main_process(answers):
    first, second = (answer["copied"] for answer in answers)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("changes", [{}, {"solver": {"deterministic": True}, "data": {"workers": 1}}])
@pytest.mark.slow
def test_the_command_writes_and_says_everything_once(tmp_path, changes):
    small_runs.draw_data(tmp_path)
    config = small_runs.write_config(tmp_path, tensorboard=True, **changes)
    done = launch(HERE / "small_runs.py", "--config", config, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 4
    assert done.stderr.count("training on cpu × 2: 8 images") == 1
    assert done.stderr.count("train epoch: [") == 4
    assert done.stderr.count("[1/2]") == 2  # 8 pictures are 2 steps of 2 processes with 2 pictures each
    assert done.stderr.count("done in") == 1
    assert "Warning" not in done.stderr
    written = {path.name for path in (tmp_path / "run").iterdir()}
    assert written == {"best.pth", "last.pth", "resume.pth", "history.json", "train.log", "report.html", "tensorboard"}
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1
    again = launch(HERE / "small_runs.py", "--config", config)
    assert again.returncode == 0
    assert "resumed at step 4" in again.stderr
    with pytest.raises(CheckpointError, match="another configuration or number of processes"):
        Trainer(small_runs.config_of(tmp_path, tensorboard=True, **changes))


@pytest.mark.slow
def test_an_error_of_one_process_ends_all_with_one_line(tmp_path):
    small_runs.draw_data(tmp_path)
    for index in (2, 5):
        (tmp_path / "train" / "images" / f"{index}.png").write_bytes(b"no picture")
    config = small_runs.write_config(tmp_path, data={"cache": False, "workers": 1})
    done = launch(HERE / "small_runs.py", "--config", config)
    own = done.stderr.split("torch/distributed/elastic")[0]
    assert done.returncode != 0
    assert done.stderr.count("error: ") == 1, done.stderr
    assert ".png: not an image" in own
    assert "Traceback" not in own
    assert "interrupted" not in done.stderr
    assert "gloo" not in (tmp_path / "run" / "train.log").read_text()


@pytest.mark.slow
def test_an_error_ends_a_process_that_cannot_be_taken_apart(tmp_path):
    small_runs.draw_data(tmp_path)
    (tmp_path / "train" / "images" / "5.png").write_bytes(b"no picture")
    config = small_runs.write_config(tmp_path, data={"cache": False})
    program = tmp_path / "program.py"
    # A teardown that never comes to its end, as NCCL's may not once steps are recorded.
    program.write_text(
        f"import atexit, sys, time\nsys.path.insert(0, {str(HERE)!r})\natexit.register(time.sleep, 1000)\n"
        "import small_runs, torch\nfrom seg_train import parallel\nfrom seg_train.cli import train_command\n"
        "parallel._WAITING_BACKENDS = ('gloo',)\ntorch.set_num_threads(1)\nsmall_runs.register()\ntrain_command()\n"
    )
    done = launch(program, "--config", config)
    assert done.returncode != 0
    assert done.stderr.count("error: ") == 1, done.stderr
    assert "5.png: not an image" in done.stderr
    assert done.stderr.count("exitcode  : 1 ") == 2, done.stderr


@pytest.mark.slow
def test_an_error_before_the_first_step_is_said_once(tmp_path):
    small_runs.draw_data(tmp_path)
    done = launch(HERE / "small_runs.py", "--config", small_runs.write_config(tmp_path, solver={"sync_bn": True}))
    assert done.returncode != 0
    assert done.stderr.count("error: ") == 1, done.stderr
    assert "solver.sync_bn: BatchNorm is synchronised on GPUs alone" in done.stderr


def test_a_process_alone_needs_no_group(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with workers("cpu") as place:
        assert place == ALONE
    assert place.agree(True)
    assert not place.agree(False)
    values = [torch.ones(2)]
    place.average(values)
    assert torch.equal(values[0], torch.ones(2))
    assert place.means(values)[0] is values[0]


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE: is 'two' in the environment, which is no whole number"),
        ({"WORLD_SIZE": "2"}, "RANK: is not set in the environment"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "MASTER_ADDR: is not set in the environment"),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost"}, "MASTER_PORT: is not set in the environment"),
    ],
)
def test_half_of_what_torchrun_says_is_one_line(monkeypatch, environment, text):
    for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    line = rf"^{text}; start several processes with torchrun, .* unset WORLD_SIZE$"
    with pytest.raises(ConfigError, match=line), workers("cpu"):
        pass


def test_batchnorm_is_synchronised_where_it_is_asked_for_and_keeps_its_weights():
    two = Workers(0, 2, torch.device("cuda", 0))
    network = small_runs.SmallNetwork()
    names, parameters = list(network.state_dict()), list(network.parameters())
    assert synchronised(network, SolverSection(), two) is network
    assert synchronised(network, SolverSection(sync_bn=True), ALONE) is network
    assert not any(isinstance(module, torch.nn.SyncBatchNorm) for module in network.modules())
    converted = synchronised(network, SolverSection(sync_bn=True), two)
    norms = [type(module) for module in converted.modules() if "BatchNorm" in type(module).__name__]
    assert norms == [torch.nn.SyncBatchNorm] * 3
    assert list(converted.state_dict()) == names
    assert all(found is before for found, before in zip(converted.parameters(), parameters, strict=True))


def test_a_lost_connection_is_told_from_a_mistake():
    two = Workers(1, 2, torch.device("cpu"))
    lost = RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1")
    assert str(two.explain(lost)).startswith("rank 1: another of the 2 processes has ended")
    assert two.explain(RuntimeError("shapes do not match")) is None
    assert two.explain(KeyError("gloo")) is None
    assert ALONE.explain(lost) is None
