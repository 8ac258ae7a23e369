"""What test_parallel.py asks two processes: started by torchrun, each writes its answers to <root>/rank<n>.pt."""

import sys
from pathlib import Path

import small_runs
import torch
from test_loader import Numbers
from test_stepper import build, draw_batch, options, poisoned, split

from seg_core.metrics import ConfusionMatrix
from seg_core.spec import PreprocessSpec
from seg_train.engine import Trainer
from seg_train.evaluate import evaluate
from seg_train.parallel import workers


class BrightnessNetwork(torch.nn.Module):
    """Class 1 where the picture is brighter than 2 gray levels, so that answers differ between pictures."""

    def forward(self, image):
        return torch.stack([torch.full_like(image[:, 0], 2.5 / 255), image[:, 0], torch.zeros_like(image[:, 0])], 1)


def one_step(place, **changes):
    """Take a step of 8 pictures, a share of them here; return the weights."""
    stepper = build(options(optimizer="sgd", grad_clip=None, **changes), place, norm=False)
    mine = list(split(draw_batch(5, 8), 8 // place.world_size))[place.rank]
    step = options(**changes).accumulate
    stepper.step(iter(split(mine, len(mine[0]) // step)))
    return stepper.state.model.state_dict()


def left_out(place):
    """Give one process alone a loss that is no number, under fp16: gradients, which both see, do not decide there."""
    stepper = build(options(on_nan="skip", precision="fp16"), place)
    batch = draw_batch(0)
    stepper.step(iter([poisoned(batch) if place.rank == 1 else batch]))
    first = stepper.left_out, stepper.state.model.state_dict()["scores.weight"].clone()
    stepper.step(iter([batch]))
    return first, stepper.left_out


def scored(place, count):
    matrix = ConfusionMatrix(3)
    contract = PreprocessSpec((8, 8), mean=(0.0,) * 3, std=(1.0,) * 3)
    matrix, samples = evaluate(BrightnessNetwork(), Numbers(count), contract, place, batch_size=2, samples=4)
    return matrix.counts, len(samples)


def copied(place):
    torch.manual_seed(place.rank)
    network = small_runs.SmallNetwork()
    place.copy_main(network)
    return network.state_dict()


def draw_gradients(rank):
    """Return what a process has to exchange: a convolution's gradient and BatchNorm's."""
    generator = torch.Generator().manual_seed(rank)
    kernel = torch.randn(8, 4, 3, 3, generator=generator).to(memory_format=torch.channels_last)
    return [kernel, torch.randn(8, generator=generator)]


def exchanged(place, dtype=None):
    return place.means(draw_gradients(place.rank), dtype=dtype)


def trained(place, root, **changes):
    """Return the weights and the averages that a run ends with."""
    trainer = Trainer(small_runs.config_of(root, **changes), workers=place)
    trainer.run()
    return {"weights": trainer.state.model.state_dict(), "average": trainer.state.average.state_dict()}


def answer(root):
    with workers("cpu") as place:
        answers = {
            **trained(place, root),
            "bf16": trained(place, root, output=str(root / "bf16"), solver={"exchange": "bf16"}),
            "exchanged": {dtype: exchanged(place, dtype) for dtype in (None, torch.float32, torch.bfloat16)},
            "step": one_step(place),
            "accumulated": one_step(place, accumulate=2),
            "left_out": left_out(place),
            "scored": [scored(place, count) for count in (5, 1)],
            "copied": copied(place),
        }
        torch.save(answers, root / f"rank{place.rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    small_runs.register()
    answer(Path(sys.argv[1]))
