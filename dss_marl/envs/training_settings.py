"""Training settings of a scenario."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from dss_marl.devices import GuardSpec

PLANS = "plans"  # the teacher that is no controller
OFF_POLICY = ("sac", "tqc")  # algorithms that learn from a replay buffer
RECURRENT = "recurrent_ppo"
SETTINGS_VERSION = 3  # rises with each key that is added to the settings, here or in one of their parts


@dataclass(frozen=True)
class Added:
    """Annotates a key that was added to the settings, so that records of runs from before it can still be read.

    Attributes:
        version: of the settings, the first that has the key.
        before: what was done before the key existed, as its value; ``...`` for its default, which leaves things as
            they were.
    """

    version: int
    before: Any = ...


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


class SlopeSettings(BaseModel):
    """Learning of numbers from the exact slope of the step's reward, in place of PPO's estimate; see the guide.

    The slope of the team's reward with respect to each number that was played is divided by the median of its absolute
    non-zero values in a rollout and clipped; the actor's mean regresses to what it was plus ``step`` times that. It
    knows nothing of later steps, so that it suits numbers whose effect ends with the step.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    weight: float = Field(
        default=1.0, gt=0, description="of the regression in the loss, beside PPO's for other entries"
    )
    step: float = Field(default=0.15, gt=0, le=2, description="change of a number of [-1, 1] by a slope of median size")
    clip: float = Field(default=3.0, gt=0, description="largest slope, in medians")
    margin_pu: float = Field(
        default=0.0015,
        ge=0,
        le=0.05,
        description="how far inside the band's limits terms that price leaving it begin to have a slope [pu]; with 0 "
        "violating_share has none",
    )
    kinds: tuple[str, ...] = Field(
        default=("inverter",), min_length=1, description="kinds of device whose numbers learn from it"
    )


class OffPolicySettings(BaseModel):
    """What ``sac`` and ``tqc`` have in place of PPO's settings; they learn from steps of all policies before.

    A rollout of all copies fills the buffer with steps x agents x copies samples, and ``update_ratio`` says how many
    gradient steps follow for each of them. More gradient steps learn more from a step, and take longer: on a small
    feeder, one of ``sac`` takes about as long as fifty agent-steps, one of ``tqc`` three times that.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    buffer_size: int = Field(
        default=300_000, ge=1, description="agent-steps that the replay buffer keeps; the oldest make room"
    )
    learning_starts: int = Field(
        default=5_000, ge=0, description="agent-steps of uniformly drawn actions before the first gradient step"
    )
    train_freq: int = Field(default=4, ge=1, description="steps of each copy between two updates")
    update_ratio: float = Field(
        default=0.125, gt=0, description="gradient steps per agent-step; at least one after each rollout"
    )
    tau: float = Field(default=0.005, gt=0, le=1, description="share of the critic that its target takes over in each")
    ent_coef: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        default="auto",
        description="weight of the entropy; auto learns it, so that an entry with a device has an entropy of about -1",
    )
    dropped_quantiles: int = Field(
        default=2, ge=0, le=24, description="tqc: of the 25 of each critic, the highest that its target leaves out"
    )


class RecurrentSettings(BaseModel):
    """The memory of ``recurrent_ppo``: an LSTM before the hidden layers, one for actor and one for critic."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    units: int = Field(default=64, ge=1, le=4096, description="of each layer of the LSTM")
    layers: int = Field(default=1, ge=1, le=8, description="of the LSTM")


class TrainingSettings(BaseModel):
    """Settings of learning; a scenario's ``training`` overrides them.

    ``ppo``, ``maskable_ppo`` and ``mappo`` learn a policy for all agents, each kind or each agent; ``recurrent_ppo``,
    ``sac`` and ``tqc`` one for all agents. The last two have ``off_policy`` in place of PPO's ``n_steps``,
    ``n_epochs``, ``gae_lambda``, ``clip_range``, ``ent_coef``, ``log_std_init`` and ``ignore_padding``.

    The defaults suit tasks like volt-var control: a low discount factor, because the return of a day depends mostly on
    the weather, and short rollouts, because many small updates learn faster than a few large ones. ``n_steps`` counts
    steps of each environment copy, so an update uses n_steps * n_envs * agents samples, of agents sharing the policy.

    With ``sharing: per_kind`` or ``none`` the policies learn alternately, see
    ``experiments.training.alternating_training``: each rollout trains one of them, while ``agent_steps`` counts the
    simulated steps of all agents.

    Learning goes in sections, each of which ends with an evaluation, a checkpoint and a reset of all copies, so that a
    run can be resumed; see ``experiments.training.sections``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    algorithm: Literal["ppo", "maskable_ppo", "mappo", "sac", "tqc", "recurrent_ppo"] = Field(
        default="ppo",
        description="maskable_ppo never selects a masked choice; with ppo the device then holds. mappo is ppo with "
        "critic 'central', recurrent_ppo with memory. sac and tqc learn from a replay buffer, for actions 'box'",
    )
    off_policy: Annotated[OffPolicySettings, Added(2)] = Field(
        default=OffPolicySettings(), description="algorithm 'sac' or 'tqc': replay buffer and updates"
    )
    recurrent: Annotated[RecurrentSettings, Added(2)] = Field(
        default=RecurrentSettings(), description="algorithm 'recurrent_ppo': its LSTM"
    )
    sharing: Literal["all", "per_kind", "none"] = Field(
        default="all", description="who shares a policy: all agents, those of a kind, or nobody"
    )
    agent_steps: int = Field(default=300_000, ge=1, description="environment steps times agents times copies")
    n_envs: int = Field(default=8, ge=1, description="copies of the environment")
    n_steps: int = Field(default=32, ge=1, description="steps of each copy between two updates")
    batch_size: int = Field(default=256, ge=2, description="samples of a gradient step")
    n_epochs: int = Field(default=5, ge=1, description="passes over the samples of an update")
    learning_rate: float = Field(default=1e-3, gt=0, description="at the start of training")
    final_learning_rate: float = Field(default=2e-5, ge=0, description="reached linearly at the end of training")
    gamma: float = Field(default=0.9, ge=0, le=1, description="discount factor of a step")
    days_go_on: Annotated[bool, Added(3)] = Field(
        default=True,
        description="value what follows the last step of a day, as if it went on; false: returns end with the day, as "
        "scores do, so that what a store holds then is worth nothing beyond the reward's own terms",
    )
    gae_lambda: float = Field(default=0.9, ge=0, le=1, description="lambda of the generalised advantage estimate")
    clip_range: float = Field(default=0.2, gt=0, description="clipping range of PPO's probability ratio")
    ent_coef: float = Field(default=0.0, ge=0, description="weight of the entropy bonus")
    log_std_init: float = Field(default=-0.5, description="log of the actions' initial standard deviation")
    log_std_final: float | None = Field(
        default=None, description="log of the standard deviation at the end, reached linearly; null: it is learned"
    )
    entries: Literal["gaussian", "mixed"] = Field(
        default="gaussian",
        description="actions 'box': what taps, banks and switches are drawn from; gaussian rounds a number, mixed "
        "draws one of their positions",
    )
    hold_probability: float = Field(
        default=0.4,
        gt=0,
        lt=1,
        description="entries 'mixed': of the position that changes nothing, at the start; high ones need a warm start",
    )
    temperature_final: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="entries 'mixed': what logits of positions are divided by at the end, from 1 at the start; null: 1",
    )
    ratio: Literal["joint", "per_entry"] = Field(
        default="joint", description="PPO's probability ratio, clipped for the whole action or for each of its entries"
    )
    critic: Literal["local", "central"] = Field(
        default="local", description="what values are learned from: the agent's observation, or the state of all zones"
    )
    slope: SlopeSettings | None = Field(
        default=None, description="actions 'box': learn numbers from the exact slope of the reward; {} for the defaults"
    )
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
    guard: GuardSpec | None = Field(
        default=None,
        description="learn, validate and act with guarded inverters, see the device's 'guard'; {}: its defaults; null: "
        "with the inverters as the scenario has them",
    )
    rest_share: Annotated[float, Added(3)] = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="learn, validate and act with inverters that rest without sun where asked for a smaller share of "
        "their kvar, see the device's 'rest_share'; 0: with the inverters as the scenario has them",
    )
    evaluation_days: int = Field(default=10, ge=1, description="validation days per evaluation")
    early_stop: int = Field(
        default=0, ge=0, description="evaluations without a better one, after which training ends; 0: never"
    )
    checkpoint_episodes: int = Field(
        default=4,
        ge=1,
        description="whole episodes of each copy between two checkpoints, at least, where copies are not all at the "
        "end of one: at a checkpoint they start anew, and otherwise first hours would be learned more often than last",
    )

    @property
    def is_off_policy(self) -> bool:
        """Whether it learns from a replay buffer."""
        return self.algorithm in OFF_POLICY

    @property
    def is_recurrent(self) -> bool:
        """Whether the policy has a memory."""
        return self.algorithm == RECURRENT

    @property
    def rollout_steps(self) -> int:
        """Steps of each copy between two updates."""
        return self.off_policy.train_freq if self.is_off_policy else self.n_steps

    @property
    def central(self) -> bool:
        """Whether the critic sees the state of all zones."""
        return self.algorithm == "mappo" or self.critic == "central"

    @property
    def beyond_ppo(self) -> tuple[str, ...]:
        """Names of the settings that SB3's PPO does not know and that are not at their defaults."""
        own = {
            "algorithm": self.algorithm == "mappo",
            "ratio": self.ratio != "joint",
            "critic": self.critic != "local",
            "slope": self.slope is not None,
            "log_std_final": self.log_std_final is not None,
            "temperature_final": self.temperature_final is not None,
        }
        return tuple(name for name, given in own.items() if given)
