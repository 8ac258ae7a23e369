"""The UPPERCASE YAML of an older training engine: names of what reads its parts."""

from seg_core.config.legacy_model import ENCODERS, model_spec_from_legacy
from seg_core.config.legacy_values import LegacySection, decode

__all__ = ["ENCODERS", "LegacySection", "decode", "model_spec_from_legacy"]
