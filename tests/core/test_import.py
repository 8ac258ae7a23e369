"""An app embeds `seg_core`: importing it must be cheap and pull in nothing but numpy and OpenCV."""

import subprocess
import sys

import pytest

import seg_core

HEAVY = ("torch", "onnx", "onnxruntime", "coremltools", "tensorflow", "click", "rich", "pydantic", "yaml", "timm")

#: Calls and returns that `import seg_core` may take on top of numpy and OpenCV (measured: 1,200).
IMPORT_BUDGET = 5_000
#: The same for resolving every public name at once, which an app never does (measured: 57,000 with Python 3.11).
ALL_NAMES_BUDGET = 100_000

BLOCKER = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {HEAVY!r}:
            raise ImportError(name + ' is blocked')
sys.meta_path.insert(0, Blocker())
"""


def run(script):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_public_name_works_where_everything_else_is_blocked():
    script = (
        BLOCKER
        + "from seg_core import *\nimport seg_core\n"
        + "import seg_core.visualize, seg_core.faces, seg_core.video\n"
        + "assert all(name in globals() for name in seg_core.__all__)\n"
        + f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    assert run(script).strip() == "[]"


def test_a_picture_is_labelled_where_everything_else_is_blocked(samples_dir):
    script = BLOCKER + (
        "import numpy as np, seg_core as s\n"
        "spec = s.TensorSpec('image', 'image', (1, 3, 32, 32), 'float32', 'nchw')\n"
        "out = s.TensorSpec('logits', 'logits', (1, 3, 32, 32), 'float32', 'nchw')\n"
        "class Runner:\n"
        "    target, inputs, outputs = 'fake', (spec,), (out,)\n"
        "    def run(self, feeds): return {'logits': feeds['image']}\n"
        "    def close(self): pass\n"
        "labels = s.LabelSet(('a', 'b', 'c'))\n"
        "with s.Predictor(Runner(), s.PreprocessSpec((32, 32)), s.PostprocessSpec(), labels) as predictor:\n"
        f"    print(predictor.predict(s.load_image({str(samples_dir / 'astronaut.png')!r})).labels.shape)\n"
    )
    assert run(script).strip() == "(512, 512)"


@pytest.mark.parametrize(
    ("statement", "budget"), [("import seg_core", IMPORT_BUDGET), ("from seg_core import *", ALL_NAMES_BUDGET)]
)
def test_importing_is_cheap_on_top_of_numpy_and_opencv(statement, budget):
    # Counted, not timed: the same work takes half as long again on the next machine.
    script = (
        "import itertools, sys, numpy, cv2\ncount = itertools.count()\n"
        f"sys.setprofile(lambda *event: next(count))\n{statement}\nsys.setprofile(None)\nprint(next(count))"
    )
    run(script)  # compiles what is not compiled yet
    assert 0 < int(run(script)) <= budget


def test_public_names_are_real():
    assert len(set(seg_core.__all__)) == len(seg_core.__all__)
    for name in seg_core.__all__:
        assert getattr(seg_core, name) is not None
        assert name in dir(seg_core)


def test_a_misspelt_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Preprocesor'"):
        _ = seg_core.Preprocesor


def test_a_command_without_click_leaves_with_one_line():
    script = BLOCKER + "import seg_core.cli.predict"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the command line needs the package 'click'")
    assert done.stderr.count("\n") == 1
    assert "pip install 'segproof[cli]'" in done.stderr
