"""What the logits do not show is proved too: labels, postprocessing and the manifest inside the artifact."""

import json
from dataclasses import replace

import pytest
from export_material import LABELS

from seg_core.errors import ArtifactError
from seg_core.labels import LabelSet
from seg_core.manifest import Manifest, manifest_path, parse_manifest
from seg_export.parity import check_artifact
from seg_export.targets.torchscript import TorchScriptTarget

pytestmark = pytest.mark.export


class Embeds(TorchScriptTarget):
    """Converts rightly, but writes a manifest that `change` altered into the artifact."""

    def __init__(self, change) -> None:
        self.change = change

    def convert(self, request):
        manifest = self.change(parse_manifest(request.manifest, "request"))
        return super().convert(replace(request, manifest=manifest.to_json()))


def other_mean(manifest: Manifest) -> Manifest:
    return replace(manifest, preprocess=replace(manifest.preprocess, mean=(0.0,) * 3, color="bgr"))


def other_names(manifest: Manifest) -> Manifest:
    return replace(manifest, labels=replace(LABELS, names=LABELS.names[::-1]))


@pytest.mark.parametrize(("change", "field"), [(other_mean, "preprocess"), (other_names, "labels")])
def test_an_artifact_that_embeds_another_manifest_is_not_installed(exporter, monkeypatch, tmp_path, change, field):
    monkeypatch.setattr(exporter, "out_dir", tmp_path)
    result = exporter.export(Embeds(change))
    assert result.status == "failed"
    assert f"the manifest inside it states another '{field}' than net.pt.json beside it" in result.error
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def artifact(exporter, monkeypatch, tmp_path):
    monkeypatch.setattr(exporter, "out_dir", tmp_path)
    return exporter.export(TorchScriptTarget()).path


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("labels", {"names": ["background", "skin", "mouth", "eye", "hair"]}, r"labels\.names\[2\] 'mouth'.* 'eye'"),
        ("labels", {"ignore_index": 254}, r"labels\.ignore_index 254, but net\.pth has 255"),
        ("postprocess", {"resize": "logits"}, r"postprocess\.resize 'logits', but net\.pth has 'labels'"),
        ("postprocess", {"outside_label": 3}, r"postprocess\.outside_label 3, but net\.pth has 0"),
    ],
)
def test_parity_refuses_another_contract_than_the_checkpoint(artifact, reference, field, value, words):
    path = manifest_path(artifact)
    data = json.loads(path.read_text())
    data[field] |= value
    path.write_text(json.dumps(data))
    with pytest.raises(ArtifactError, match=rf"net\.pt: its manifest states {words}"):
        check_artifact(artifact, reference)


def test_parity_refuses_a_manifest_beside_that_is_not_the_one_inside(artifact, reference):
    path = manifest_path(artifact)
    data = json.loads(path.read_text())
    data["provenance"]["converter"] = "another"
    path.write_text(json.dumps(data))
    with pytest.raises(ArtifactError, match="the manifest inside it states another 'provenance'"):
        check_artifact(artifact, reference)


def test_classes_that_a_foreign_checkpoint_never_stated_are_no_contradiction(artifact, reference, monkeypatch):
    checkpoint = reference.checkpoint
    provenance = {"source": "published state dict", "convention": {}, "assumed": {"labels": "numbered"}}
    numbered = LabelSet(tuple(f"class_{index}" for index in range(LABELS.num_classes)))
    monkeypatch.setattr(reference, "checkpoint", replace(checkpoint, labels=numbered, provenance=provenance))
    assert check_artifact(artifact, reference).passed
    stated = replace(checkpoint, labels=numbered, provenance=provenance | {"assumed": {}})
    monkeypatch.setattr(reference, "checkpoint", stated)
    with pytest.raises(ArtifactError, match=r"labels\.names\[0\]"):
        check_artifact(artifact, reference)
