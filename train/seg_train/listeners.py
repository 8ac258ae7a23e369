"""The listeners that a run has: console, log file, report and, where it is asked for, TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from seg_core.config.schema import TrainConfig
from seg_core.labels import LabelSet
from seg_train.console import ConsoleListener
from seg_train.events import Listener, compose
from seg_train.log_lines import LogFile
from seg_train.run_report import ReportListener
from seg_train.tensorboard_log import TensorBoardListener


@contextmanager
def open_listeners(config: TrainConfig, labels: LabelSet) -> Iterator[Listener]:
    """Yield all listeners of the run as one; what they hold open is closed and the log says how the run ended.

    They write train.log, report.html and, with `tensorboard`, the directory tensorboard into `config.output`. Raises
    MissingDependencyError where TensorBoard is asked for and missing.
    """
    output = config.output
    log = LogFile(output / "train.log", labels.names)
    report = ReportListener(output / "report.html", labels, title_of(config), facts_of(config))
    with ExitStack() as stack:
        listeners: list[Listener] = [
            stack.enter_context(ConsoleListener(labels.names)),
            stack.enter_context(log),
            report,
        ]
        if config.tensorboard:
            listeners.append(stack.enter_context(TensorBoardListener(output / "tensorboard", labels)))
        yield compose(listeners)


def title_of(config: TrainConfig) -> str:
    """Return what the run is called: architecture, size and the user's own words about it."""
    height, width = config.preprocess.size_hw
    words = (f"{config.model.name} at {height}×{width}", config.task, config.extra)
    return ", ".join(word for word in words if word)


def facts_of(config: TrainConfig) -> dict[str, str]:
    """Return what the configuration sets by its dotted keys, defaults left out."""
    facts: dict[str, str] = {}

    def flatten(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                flatten(f"{prefix}.{key}" if prefix else key, inner)
        else:
            facts[prefix] = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)

    flatten("", config.model_dump(mode="json", exclude_unset=True))
    return facts
