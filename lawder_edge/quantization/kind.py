"""Whether the pictures that give the ranges are of the kind that the float network knows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lawder_edge.data.datasets import first_few
from lawder_edge.models.deploy import to_deploy
from lawder_edge.training.batches import TrainData, at_size
from lawder_edge.training.loop import foreground, predict_probabilities
from lawder_edge.training.processes import is_first, join_processes
from lawder_edge.training.record import WeightsRecord

# ORDER has 0.00 on CT slices, and 0.65 or more on the two polyp lists, at half of its size as well. MK-UNet-T, the
# weakest network that is kept, has 0.64 on ClinicDB-62. Of single polyps 3 to 7 % fall below at ORDER's own size.
LOW_DICE = 0.3


def note_on_kind(
    network: nn.Module, record: WeightsRecord, *, val: TrainData, size: int, cpu: bool = False
) -> str | None:
    """What a person should know where the float network finds little in the validation pictures.

    One pass over them, at size x size pixels, by the first of several processes; the others are told nothing. record:
    of the network's weights. cpu: stay on the CPU although a GPU is there. Returns: None where Dice is `LOW_DICE` or
    more, and where no picture has foreground. Raises: BadInput for weights that `to_deploy` refuses.
    """
    if not is_first():
        return None
    images, labels = at_size(val, size)
    measured = to_deploy(network).to(join_processes(cpu=cpu).device)
    dice = dice_of_present(
        predict_probabilities(measured, images), torch.from_numpy(labels).long(), threshold=record.threshold
    )
    if dice is None or dice >= LOW_DICE:
        return None
    folders = sorted({id.rpartition("/")[0] for id in record.train_ids} - {""})
    known = f" ({first_few(folders)})" if folders else ""
    other_size = "" if size == record.size else f", or --size {record.size}, which these weights were chosen at"
    return (
        f"the float network finds little in these pictures: Dice {dice:.4f} on {len(val)} validation "
        f"{'picture' if len(val) == 1 else 'pictures'} at {size} px; wanted {LOW_DICE} or more. They are probably not "
        f"of the kind that it was trained on{known}, and ranges learnt from other pictures do not fit its own. Give "
        "--data and --split pictures of that kind, or --model weights that were trained on pictures like "
        f"these{other_size}"
    )


def dice_of_present(probabilities: Tensor, labels: Tensor, *, threshold: float = 0.5) -> float | None:
    """Mean of Dice over each foreground class in each picture that has it, None where no picture has any.

    A class that a picture lacks would count as found by a network that finds nothing. probabilities: (N, K, H, W);
    labels: (N, H, W). threshold: of the one class where K is 1.
    """
    scores = []
    for found, truth in foreground(probabilities, labels, threshold=threshold):
        present = truth.flatten(1).any(1)
        a, b = found[present], truth[present]
        scores.append(2 * (a & b).sum((1, 2)) / (a.sum((1, 2)) + b.sum((1, 2))))
    every = torch.cat(scores)
    return float(every.mean()) if len(every) else None
