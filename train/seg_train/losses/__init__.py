"""What training minimises: one term a module, and their weighted sum over every head of the network."""

from seg_train.losses.segmentation import LOSSES, SegmentationLoss, list_losses

__all__ = ["LOSSES", "SegmentationLoss", "list_losses"]
