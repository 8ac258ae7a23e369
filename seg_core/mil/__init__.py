"""Run a saved Core ML ML Program with numpy, on any operating system.

Core ML itself exists only on Apple's systems. This package reads what a `.mlpackage` really holds (the
program in its protobuf specification and the weights in `weight.bin`), executes it operation by operation
and so lets parity be measured where the artifact was made. It models *the program*: the operations, their
order, their constants and the precision that each result is typed with. It does not model the Neural
Engine, the GPU or any scheduling, fusion or accumulation order that Apple's runtime chooses.
"""

from seg_core.mil.package import read_metadata
from seg_core.mil.program import Program, ValueType
from seg_core.mil.reader import load_program

__all__ = ["Program", "ValueType", "load_program", "read_metadata"]
