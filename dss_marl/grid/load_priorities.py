"""Load priorities: critical, important and normal loads, and their weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dss_marl.grid.feeder import Feeder, find
from dss_marl.grid.state import Array, IntArray

CLASSES = ("critical", "important", "normal")
NORMAL = len(CLASSES) - 1


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ClassSpec(_Data):
    """One class: the named loads, and others drawn at random until the class has its share of the feeder's load."""

    weight: float = Field(gt=0, description="weight of unserved energy, relative to a normal load")
    share: float = Field(default=0.0, ge=0, le=1, description="share of the nominal load [1]")
    loads: tuple[str, ...] = Field(default=(), description="names of loads in the class")


class PrioritySpec(_Data):
    """Critical and important loads; all others are normal and weigh 1."""

    seed: int = Field(default=0, description="of the random assignment, the same on all days")
    critical: ClassSpec = Field(default=ClassSpec(weight=10, share=0.15), description="the highest class")
    important: ClassSpec = Field(default=ClassSpec(weight=3, share=0.25), description="the class between")

    @model_validator(mode="after")
    def _consistent(self) -> PrioritySpec:
        if self.critical.share + self.important.share > 1:
            raise ValueError("the shares of critical and important loads add up to more than 1; lower one")
        twice = {name.lower() for name in self.critical.loads} & {name.lower() for name in self.important.loads}
        if twice:
            raise ValueError(f"load {min(twice)!r} is named as critical and as important; choose one")
        return self


@dataclass(frozen=True)
class Priorities:
    """The class of every load.

    Attributes:
        of: (J) index in CLASSES; units are normal.
        weight: (J) weight of unserved energy [1].
        class_weight: (C) the same per class.
    """

    of: IntArray
    weight: Array
    class_weight: Array

    @classmethod
    def build(cls, spec: PrioritySpec, feeder: Feeder) -> Priorities:
        """Assign loads to classes, by name and at random.

        Raises:
            ValueError: a load that the feeder does not have.
        """
        of = np.full(len(feeder.injections), NORMAL, dtype=np.int64)
        loads = [feeder.injections[j] for j in feeder.loads]
        kw = np.maximum(-feeder.nominal_kw, 0.0)
        drawn = [int(j) for j in np.random.default_rng(spec.seed).permutation(feeder.loads)]
        for number, one in enumerate((spec.critical, spec.important)):
            named = [int(feeder.loads[find(loads, name, "load", feeder.name)]) for name in one.loads]
            of[named] = number
            drawn = [j for j in drawn if j not in named]
        for number, one in enumerate((spec.critical, spec.important)):
            short = one.share * kw.sum() - kw[of == number].sum()
            while drawn and short > kw[drawn[0]] / 2:  # as near to the share as possible
                short -= kw[drawn[0]]
                of[drawn.pop(0)] = number
        weights = np.array([spec.critical.weight, spec.important.weight, 1.0])
        return cls(of, weights[of], weights)
