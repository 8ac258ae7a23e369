"""An app with numpy, OpenCV and one runtime predicts; torch and the converters are refused outright."""

import subprocess
import sys

import pytest
from export_material import SAMPLES, SIZE_HW

pytestmark = pytest.mark.export

BLOCKED = ("torch", "onnx", "coremltools", "tensorflow", "litert_torch", "pydantic", "click", "rich")

PROGRAM = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Refuse())
from seg_core import Predictor
from seg_core.images import load_image
image = load_image(sys.argv[2])
labels = Predictor.open(sys.argv[1], threads=1).predict(image).labels
assert labels.shape == image.shape[:2] and labels.dtype == "uint8", (labels.shape, labels.dtype)
import hashlib
print(hashlib.sha256(labels.tobytes()).hexdigest(), len(set(labels.ravel().tolist())))
assert not [name for name in sys.modules if name.split(".")[0] in {BLOCKED!r}]
"""


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_predicts_without_torch(target, exported, checkpoint):
    from seg_core import Predictor
    from seg_core.images import load_image

    photo = SAMPLES / "grace_hopper.png"
    arguments = [sys.executable, "-c", PROGRAM, str(exported[target].path), str(photo)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    _, classes = done.stdout.split()
    assert int(classes) > 1
    image = load_image(photo)
    expected = Predictor.open(checkpoint).predict(image).labels
    found = Predictor.open(exported[target].path).predict(image).labels
    assert (expected == found).mean() >= 0.9995
    assert image.shape[:2] != SIZE_HW
