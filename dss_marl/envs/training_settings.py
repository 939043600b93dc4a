"""Training settings of a scenario."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

PLANS = "plans"  # the teacher that is no controller


class TeacherSettings(BaseModel):
    """A teacher that a policy imitates before it learns; ``teacher: tuned_droop`` is short for the name alone.

    In the first round the teacher plays, in the others the policy, which is told in its own states what the teacher
    would do there; each round fits it to the states of all rounds. A policy fitted to the teacher's own play alone
    drifts out of what it has seen, as it learns to hold taps where the teacher did.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(
        description="plans (of training days, by 'dss-marl solve NAME --split train'), a reference controller's name, "
        "or your own as package.module:name"
    )
    days: int = Field(
        default=12, ge=1, description="training days of each round; of few plans, the same in every round"
    )
    rounds: int = Field(default=3, ge=0, description="rounds in which the policy plays, after the teacher's own")
    epochs: int = Field(default=30, ge=1, description="passes over the states of all rounds so far, in each round")
    batch_size: int = Field(default=256, ge=2, description="observations of a gradient step")
    learning_rate: float = Field(default=3e-3, gt=0, description="at the start of each round; falls to 0 within it")
    log_std: float = Field(
        default=-1.9, description="log of the standard deviation of numbers afterwards, low so that they stay near it"
    )
    critic_warmup: int = Field(
        default=5, ge=0, description="rollouts in which the value function alone learns, before the policy does"
    )


def _by_name(given: Any) -> Any:
    return {"name": given} if isinstance(given, str) else given


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
    teacher: (
        Annotated[TeacherSettings, BeforeValidator(_by_name, json_schema_input_type=str | TeacherSettings)] | None
    ) = Field(default=None, description="what the policy imitates before it learns: plans, or a controller by name")
    evaluations: int = Field(
        default=12, ge=1, description="number of evaluations on validation days; the best policy is kept"
    )
    evaluation_days: int = Field(default=10, ge=1, description="validation days per evaluation")
