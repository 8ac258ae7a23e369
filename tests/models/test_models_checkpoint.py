"""Good checkpoints: what is saved comes back, and saving never loses an older file."""

import dataclasses
import resource

import numpy as np
import pytest
import torch

from seg_core.errors import CheckpointError
from seg_core.models.checkpoint import build_network, load_checkpoint, save_checkpoint


def test_everything_comes_back(saved, checkpoint):
    loaded = load_checkpoint(saved)
    for name in ("model", "preprocess", "postprocess", "labels", "metrics", "provenance"):
        assert getattr(loaded, name) == getattr(checkpoint, name), name
    assert list(loaded.state_dict) == list(checkpoint.state_dict)
    assert all(torch.equal(loaded.state_dict[key], tensor) for key, tensor in checkpoint.state_dict.items())


def test_the_file_is_plain_data_for_any_reader(saved):
    content = torch.load(saved, weights_only=True)
    assert content["format"] == "segproof.checkpoint"
    assert content["format_version"] == 1
    assert content["preprocess"]["size_hw"] == [64, 64]
    assert content["model"]["options"] == {"aux_head": True, "upsample": True}


def test_the_built_network_is_ready_to_run(saved, checkpoint):
    network = build_network(load_checkpoint(saved))
    assert not network.training
    assert all(torch.equal(tensor, checkpoint.state_dict[key]) for key, tensor in network.state_dict().items())


def test_half_halves_the_file_and_loads_as_float32(tmp_path, saved, checkpoint):
    path = tmp_path / "half.pth"
    save_checkpoint(path, checkpoint, half=True)
    assert path.stat().st_size < 0.55 * saved.stat().st_size
    loaded = load_checkpoint(path).state_dict
    for key, tensor in checkpoint.state_dict.items():
        assert loaded[key].dtype == tensor.dtype
        assert torch.equal(loaded[key], tensor.half().float() if tensor.is_floating_point() else tensor)


def test_weights_beyond_float16_are_not_halved(tmp_path, checkpoint):
    state = dict(checkpoint.state_dict)
    state["conv1.0.bias"] = torch.full_like(state["conv1.0.bias"], 1e5)
    large = dataclasses.replace(checkpoint, state_dict=state)
    with pytest.raises(CheckpointError, match=r"net.pth: not saved: weight 'conv1.0.bias' is beyond .*without half"):
        save_checkpoint(tmp_path / "net.pth", large, half=True)
    assert list(tmp_path.iterdir()) == []
    save_checkpoint(tmp_path / "net.pth", large)


def test_equal_checkpoints_give_equal_bytes(tmp_path, saved, checkpoint):
    save_checkpoint(tmp_path / "other_name.pth", checkpoint)
    assert (tmp_path / "other_name.pth").read_bytes() == saved.read_bytes()


def test_views_do_not_drag_their_storage_along(tmp_path, saved, checkpoint):
    state = {key: torch.stack([tensor, tensor])[0] for key, tensor in checkpoint.state_dict.items()}
    save_checkpoint(tmp_path / "net.pth", dataclasses.replace(checkpoint, state_dict=state))
    assert (tmp_path / "net.pth").stat().st_size == saved.stat().st_size


def test_metrics_may_hold_numpy_scalars_and_nan_becomes_null(tmp_path, checkpoint):
    metrics = {"miou": np.float64(0.5), "per_class": {"hat": float("nan"), "hair": np.float32(0.25)}}
    save_checkpoint(tmp_path / "net.pth", dataclasses.replace(checkpoint, metrics=metrics))
    assert load_checkpoint(tmp_path / "net.pth").metrics == {"miou": 0.5, "per_class": {"hat": None, "hair": 0.25}}


def test_metrics_of_other_types_are_refused(tmp_path, checkpoint):
    odd = dataclasses.replace(checkpoint, metrics={"when": object()})
    with pytest.raises(CheckpointError, match=r"net.pth: not saved: metrics: only JSON types .*found object"):
        save_checkpoint(tmp_path / "net.pth", odd)


def test_a_file_from_before_torch_1_6_loads(tmp_path, saved, checkpoint):
    path = tmp_path / "legacy.pth"
    torch.save(torch.load(saved, weights_only=True), path, _use_new_zipfile_serialization=False)
    loaded = load_checkpoint(path)
    assert loaded.model == checkpoint.model
    assert torch.equal(loaded.state_dict["conv1.0.weight"], checkpoint.state_dict["conv1.0.weight"])


def test_a_full_disk_keeps_the_older_file(tmp_path, checkpoint):
    path = tmp_path / "net.pth"
    path.write_bytes(b"older")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))  # the system refuses to write past 1 MiB
    try:
        with pytest.raises(CheckpointError, match=r"net.pth: cannot be written \(File too large\); free space"):
            save_checkpoint(path, checkpoint)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [item.name for item in tmp_path.iterdir()] == ["net.pth"]
    assert path.read_bytes() == b"older"


def test_an_interruption_keeps_the_older_file(tmp_path, checkpoint, monkeypatch):
    path = tmp_path / "net.pth"
    path.write_bytes(b"older")

    def interrupt(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(path), "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, checkpoint)
    assert [item.name for item in tmp_path.iterdir()] == ["net.pth"]
    assert path.read_bytes() == b"older"


@pytest.mark.parametrize("parent", ["missing", "a_file"])
def test_a_directory_that_cannot_be_written_is_named(tmp_path, checkpoint, parent):
    (tmp_path / "a_file").write_bytes(b"")
    with pytest.raises(CheckpointError, match=rf"{parent}/net.pth: cannot be written \(.+\); free space or choose"):
        save_checkpoint(tmp_path / parent / "net.pth", checkpoint)


def test_a_checkpoint_that_could_not_be_loaded_is_not_saved(tmp_path, checkpoint):
    state = {key: tensor for key, tensor in checkpoint.state_dict.items() if key != "conv1.0.bias"}
    with pytest.raises(CheckpointError, match=r"net.pth: not saved: lacks the weight 'conv1.0.bias'"):
        save_checkpoint(tmp_path / "net.pth", dataclasses.replace(checkpoint, state_dict=state))
    assert list(tmp_path.iterdir()) == []
