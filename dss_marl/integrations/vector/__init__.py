"""Many environments at once: copies of one ParallelEnv, with their agents side by side as rows.

A *copy* is one environment; a *row* is one agent of one copy. With A agents, copy k holds the rows k * A to
k * A + A - 1, in the order of `possible_agents`. Masks are separate from the observations, see `FlattenedEnv`. Worker
processes import this package, so it imports neither torch nor a learning library.
"""

from dss_marl.envs.batch_env import copy_seeds
from dss_marl.envs.flattening import FlattenedEnv
from dss_marl.integrations.vector.batched import BatchBlock
from dss_marl.integrations.vector.blocks import build_block
from dss_marl.integrations.vector.copies import Block, Copy, Layout, MakeEnv, Start, shared_layout
from dss_marl.integrations.vector.engine_block import EngineBlock, EngineChoice
from dss_marl.integrations.vector.numeric_actions import UniformSpaces
from dss_marl.integrations.vector.supersuit_copies import SuperSuitCopy
from dss_marl.integrations.vector.watching import Watch, Watched
from dss_marl.integrations.vector.workers import Failure, ParallelCopies, WorkerError, pickled

__all__ = [
    "BatchBlock",
    "Block",
    "Copy",
    "EngineBlock",
    "EngineChoice",
    "Failure",
    "FlattenedEnv",
    "Layout",
    "MakeEnv",
    "ParallelCopies",
    "Start",
    "SuperSuitCopy",
    "UniformSpaces",
    "Watch",
    "Watched",
    "WorkerError",
    "build_block",
    "copy_seeds",
    "pickled",
    "shared_layout",
]
