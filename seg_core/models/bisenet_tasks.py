"""What the published BiSeNets were trained on: classes in their order, and the normalisation of each data set."""

from __future__ import annotations

from seg_core.labels import CELEBAMASK_HQ, CITYSCAPES_19, LabelSet
from seg_core.models.published_form import CITYSCAPES_SIZE_HW, PublishedTask
from seg_core.spec import PreprocessSpec

#: The face-parsing checkpoint's own order of CelebAMask-HQ's classes; every class keeps its colour.
_FACE_ORDER = (
    "background", "skin", "left_brow", "right_brow", "left_eye", "right_eye", "eye_glasses", "left_ear", "right_ear",
    "earring", "nose", "inner_mouth", "upper_lip", "lower_lip", "neck", "necklace", "cloth", "hair", "hat",
)  # fmt: skip
FACE_PARSING_19 = LabelSet(
    names=_FACE_ORDER,
    palette=tuple(CELEBAMASK_HQ.palette[CELEBAMASK_HQ.names.index(name)] for name in _FACE_ORDER),
    flip_pairs=((2, 3), (4, 5), (7, 8)),
)

FACE_TASKS = (PublishedTask("CelebAMask-HQ", 19, PreprocessSpec((512, 512)), labels=FACE_PARSING_19),)
FACE_ORIGIN = "https://github.com/zllrunning/face-parsing.PyTorch, MIT"

COINCHEUNG_ORIGIN = "https://github.com/CoinCheung/BiSeNet, MIT"


def _coincheung_task(
    dataset: str,
    num_classes: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    labels: LabelSet | None = None,
) -> PublishedTask:
    size_hw = CITYSCAPES_SIZE_HW if labels is CITYSCAPES_19 else (512, 512)
    preprocess = PreprocessSpec(size_hw, mean=mean, std=std)
    return PublishedTask(dataset, num_classes, preprocess, f"the repository's own statistics of {dataset}", labels)


#: That repository normalises by each data set's own statistics, not by ImageNet's.
COINCHEUNG_TASKS = (
    _coincheung_task("Cityscapes", 19, (0.3257, 0.3690, 0.3223), (0.2112, 0.2148, 0.2115), CITYSCAPES_19),
    _coincheung_task("COCO-Stuff", 171, (0.46962251, 0.4464104, 0.40718787), (0.27469736, 0.27012361, 0.28515933)),
    _coincheung_task("ADE20K", 150, (0.49343230, 0.46819794, 0.43106043), (0.25680755, 0.25506608, 0.27422913)),
)
