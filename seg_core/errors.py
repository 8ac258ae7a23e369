"""Every failure that a user can cause or meet, as one line they can act on."""

from __future__ import annotations


class SegError(Exception):
    """Base of all expected failures; the command line prints its text alone and exits with `exit_code`."""

    exit_code = 1


class ConfigError(SegError):
    """A configuration value, option or registered name is wrong."""


class SpecError(SegError):
    """A specification or manifest is malformed, of an unknown version or contradicts itself."""


class CheckpointError(SegError):
    """A checkpoint cannot be read, is not one of ours or does not fit its architecture."""


class ImageError(SegError):
    """An image, mask or video cannot be read or is not what it claims to be."""


class ArtifactError(SegError):
    """An exported artifact cannot be read, is damaged or differs from its manifest."""


class ExportError(SegError):
    """A conversion failed or cannot be done for this model, size or output directory."""


class MissingDependencyError(SegError):
    """A package that the asked-for feature needs is not installed."""

    def __init__(self, package: str, feature: str, install: str) -> None:
        """Say which `package` the `feature` lacks and what to give pip (`install`), such as "segproof[onnx]"."""
        super().__init__(
            f"{feature} needs the package {package!r}, which is not installed: run  pip install '{install}'"
        )
        self.package = package
        self.install = install


class ParityError(SegError):
    """An artifact runs but does not reproduce its checkpoint within tolerance."""

    exit_code = 3
