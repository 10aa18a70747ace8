"""The names of the arms, for the command line, which loads no torch."""

from __future__ import annotations

from typing import Literal, get_args

Arm = Literal["uniform", "ratio", "regions", "law", "law_on_regions", "law_regions", "law_joint"]
ARMS: tuple[Arm, ...] = get_args(Arm)
# Those with a weighter, whose map moves the weights.
LEARNED: tuple[Arm, ...] = ("law", "law_on_regions", "law_regions", "law_joint")
# Those that start from inside, band and outside; every other arm that is not uniform starts from the ratio.
ON_REGIONS: tuple[Arm, ...] = ("regions", "law_on_regions")
