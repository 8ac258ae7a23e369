"""Losses, optimisers and schedules as the older engine's YAML names them, to ours."""

from __future__ import annotations

#: Weights of our loss terms; those that are not named are 0.
LOSSES: dict[str, dict[str, float]] = {
    "DC_and_Focal_loss": {"dice": 1.0, "focal": 1.0},
    "DC_and_CE_loss": {"dice": 1.0, "cross_entropy": 1.0},
    # Weighed as Gated-SCNN, where it comes from, weighs it (Takikawa et al., ICCV 2019, section 5).
    "JointEdgeSegLoss": {"cross_entropy": 1.0, "edge": 20.0, "boundary": 1.0},
    "CE": {"cross_entropy": 1.0},
    "CrossEntropyLoss": {"cross_entropy": 1.0},
    "OHEM": {"ohem": 1.0},
    "OhemCELoss": {"ohem": 1.0},
    "Dice": {"dice": 1.0},
    "DiceLoss": {"dice": 1.0},
    "IoU": {"iou": 1.0},
    "IoULoss": {"iou": 1.0},
    "Lovasz": {"lovasz": 1.0},
    "LovaszLoss": {"lovasz": 1.0},
    "LovaszSoftmax": {"lovasz": 1.0},
    "Focal": {"focal": 1.0},
    "FocalLoss": {"focal": 1.0},
}

OPTIMIZERS = {
    "AdaBelief": "adabelief",
    "Adam": "adam",
    "AdamW": "adamw",
    "SGD": "sgd",
    "NAdam": "nadam",
    "RAdam": "radam",
    "RMSprop": "rmsprop",
    "LAMB": "lamb",
    "Lion": "lion",
    "Adan": "adan",
    "MADGRAD": "madgrad",
}

#: Where decay is added to the gradient, so that the size it has beside decoupled decay would be far too much.
COUPLED = ("adam", "sgd", "nadam", "radam", "rmsprop", "madgrad")
#: What DeepLab, BiSeNet and DDRNet were trained with by SGD.
COUPLED_DECAY = 5e-4

SCHEDULES = {
    "OneCycleLR": "one_cycle",
    "OneCycle": "one_cycle",
    "PolyLR": "poly",
    "WarmupPolyLR": "poly",
    "Poly": "poly",
    "CosineAnnealingLR": "cosine",
    "WarmupCosineLR": "cosine",
    "CosineLR": "cosine",
    "Cosine": "cosine",
    "ConstantLR": "constant",
    "": "constant",
}
