"""The copies that one process holds: as one batch where they are copies of a scenario's environment."""

from __future__ import annotations

from dss_marl.integrations.vector.batched import BatchBlock, alike, plain_zone_env
from dss_marl.integrations.vector.copies import Block, MakeEnv
from dss_marl.integrations.vector.engine_block import EngineBlock, EngineChoice


def build_block(make_env: MakeEnv, n: int, choice: EngineChoice | None = None) -> Block:
    """n copies of what ``make_env`` returns.

    Args:
        make_env: returns a new environment at each call.
        n: number of copies.
        choice: the batch engine that solves them all; None: each copy's environment has an engine of its own.

    Raises:
        ValueError: as Block, or with an engine as EngineBlock.
    """
    if choice is not None:
        return EngineBlock(make_env, n, choice)
    block = Block(make_env, n)
    envs = [plain_zone_env(copy.env) for copy in block.copies]
    if n < 2 or any(env is None or not alike(env, envs[0]) for env in envs):
        return block
    return BatchBlock(block, [env for env in envs if env is not None])
