"""Training settings of a scenario."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from dss_marl.devices import GuardSpec


class TrainingSettings(BaseModel):
    """Settings of PPO with one policy shared by all agents, or by all of a kind; a scenario's ``training`` overrides.

    The defaults suit tasks like volt-var control: a low discount factor, because the return of a day depends mostly on
    the weather, and short rollouts, because many small updates learn faster than a few large ones. ``n_steps`` counts
    steps of each environment copy, so an update uses n_steps * n_envs * agents samples, of agents sharing the policy.

    With ``policies: per_kind`` the kinds learn alternately, see ``experiments.training.alternating_training``: each
    rollout trains one kind, while ``agent_steps`` counts the simulated steps of all agents.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    algorithm: Literal["ppo", "maskable_ppo"] = Field(
        default="ppo", description="maskable_ppo never selects a masked choice; with ppo the device then holds"
    )
    policies: Literal["shared", "per_kind"] = Field(default="shared", description="one for all agents, or one per kind")
    agent_steps: int = Field(default=300_000, ge=1, description="environment steps times agents times copies")
    n_envs: int = Field(default=8, ge=1, description="copies of the environment")
    n_steps: int = Field(default=32, ge=1, description="steps of each copy between two updates")
    batch_size: int = Field(default=256, ge=2, description="samples of a gradient step")
    n_epochs: int = Field(default=5, ge=1, description="passes over the samples of an update")
    learning_rate: float = Field(default=1e-3, gt=0, description="at the start of training")
    final_learning_rate: float = Field(default=2e-5, ge=0, description="reached linearly at the end of training")
    gamma: float = Field(default=0.9, ge=0, le=1, description="discount factor of a step")
    gae_lambda: float = Field(default=0.9, ge=0, le=1, description="lambda of the generalised advantage estimate")
    clip_range: float = Field(default=0.2, gt=0, description="clipping range of PPO's probability ratio")
    ent_coef: float = Field(default=0.0, ge=0, description="weight of the entropy bonus")
    log_std_init: float = Field(default=-0.5, description="log of the actions' initial standard deviation")
    ignore_padding: bool = Field(
        default=False, description="actions 'box': mask padded entries; needs the observation 'has_action'"
    )
    net_arch: tuple[int, ...] = Field(default=(64, 64), description="units of each hidden layer")
    evaluations: int = Field(
        default=12, ge=1, description="number of evaluations on validation days; the best policy is kept"
    )
    guard: GuardSpec | None = Field(
        default=None,
        description="learn, validate and act with guarded inverters, see the device's 'guard'; {}: its defaults; null: "
        "with the inverters as the scenario has them",
    )
    evaluation_days: int = Field(default=10, ge=1, description="validation days per evaluation")
