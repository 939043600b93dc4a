"""Policy files: the network that acts as safetensors, and what it takes to build it as JSON; loading runs no code.

SB3's own ``model.zip`` holds pickled objects, and whoever wrote it decides what runs when it is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch as th
from gymnasium import spaces
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.sac.policies import Actor

from dss_marl._assets import replacing
from dss_marl.integrations.sb3.mixed_policy import MixedPolicy
from dss_marl.integrations.sb3.padded_policy import MaskedGaussianPolicy

_ACTIVATIONS: dict[str, Any] = {"tanh": th.nn.Tanh, "relu": th.nn.ReLU}
_ACTOR = "squashed_gaussian"
_KEY = "dss_marl"  # of the JSON among the metadata of a safetensors file
Count = Annotated[int, Field(ge=1, le=1_000_000)]  # a file cannot ask for a network beyond any memory


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SpaceData(_Data):
    """A Box, Discrete or MultiDiscrete space.

    ``low`` and ``high`` are one number where all entries have the same, as text where JSON has no such number.
    """

    model_config = ConfigDict(ser_json_inf_nan="strings")

    kind: Literal["box", "discrete", "multidiscrete"]
    shape: tuple[Count, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    choices: tuple[Count, ...] = ()

    @classmethod
    def of(cls, space: spaces.Space[Any]) -> SpaceData:
        """The data of a space.

        Raises:
            ValueError: it is of another type.
        """
        if isinstance(space, spaces.Box) and space.dtype == np.float32:
            low, high = (_short(end) for end in (space.low, space.high))
            return cls(kind="box", shape=space.shape, low=low, high=high)
        if isinstance(space, spaces.Discrete) and space.start == 0:
            return cls(kind="discrete", choices=(int(space.n),))
        if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1 and not np.any(space.start):
            return cls(kind="multidiscrete", choices=tuple(space.nvec.tolist()))
        raise ValueError(f"policy files have no space like {space}")

    def space(self) -> spaces.Space[Any]:
        """The space."""
        if self.kind == "box":
            size = int(np.prod(self.shape))
            low, high = (np.broadcast_to(np.array(end, np.float32), size) for end in (self.low, self.high))
            return spaces.Box(low.reshape(self.shape), high.reshape(self.shape), dtype=np.float32)
        return spaces.Discrete(self.choices[0]) if self.kind == "discrete" else spaces.MultiDiscrete(list(self.choices))


class MemoryData(_Data):
    """The LSTM of a policy."""

    units: Annotated[int, Field(ge=1, le=65_536)]
    layers: Annotated[int, Field(ge=1, le=64)]


class PolicyData(_Data):
    """What it takes, beside the weights, to build a policy's network."""

    format: Literal[1] = 1
    network: Literal["mlp", "maskable_mlp", "masked_gaussian", "mixed", "squashed_gaussian", "lstm", "masked_lstm"]
    activation: Literal["tanh", "relu"] = "tanh"
    net_arch: tuple[Annotated[int, Field(ge=1, le=65_536)], ...]
    log_std_init: float = 0.0
    columns: tuple[int, ...] = ()
    signatures: tuple[tuple[float, ...], ...] = ()
    levels: tuple[tuple[Annotated[int, Field(ge=-1, le=10_000)], ...], ...] = ()
    memory: MemoryData | None = None
    observation_space: SpaceData
    action_space: SpaceData


def save_policy(policy: Any, path: Path) -> None:
    """Write a policy into a file.

    Args:
        policy: SB3's or sb3_contrib's actor-critic policy, MaskedGaussianPolicy, MixedPolicy or MaskedRecurrentPolicy;
            of the policies of SAC and TQC, their actor, which is all that acts.
        path: of the file.

    Raises:
        ValueError: its network is of another type.
    """
    acting = _actor_of(policy)
    network: Any = (
        _ACTOR if acting is not policy else {own: name for name, own in _networks().items()}.get(type(policy))
    )
    plain = isinstance(acting.net_arch, list) and all(isinstance(width, int) for width in acting.net_arch)
    activation = {own: name for name, own in _ACTIVATIONS.items()}.get(acting.activation_fn)
    if network is None or not plain or activation is None:
        raise ValueError(
            f"policy files have no network like {type(policy).__name__} of net_arch {acting.net_arch}; save it by SB3"
        )
    data = _data_of(acting, network, activation)
    weights = {name: tensor.contiguous() for name, tensor in acting.state_dict().items()}
    with replacing(path) as part:
        save_file(weights, part, metadata={_KEY: data.model_dump_json(exclude_none=True)})


def read_policy(path: Path) -> Any:
    """Build the policy that ``save_policy`` wrote; nothing in the file is executed.

    Raises:
        ValueError: not a policy file, or a part of one, or its weights do not fit its network.
        ImportError: it masks choices, and sb3_contrib is not installed.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            said = (file.metadata() or {}).get(_KEY, "")
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
        data = PolicyData.model_validate_json(said)
        policy = _built(data)
        policy.load_state_dict(weights)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        why = " ".join(str(error).split())[:300]
        raise ValueError(f"{str(path)!r} is no policy file of this version, or only a part of one: {why}") from None
    return policy


def _actor_of(policy: Any) -> Any:
    """The actor of SAC's or TQC's policy, whose actors are alike; other policies as they are."""
    return policy.actor if isinstance(getattr(policy, "actor", None), BasePolicy) else policy


def _data_of(policy: Any, network: Any, activation: Any) -> PolicyData:
    lstm = getattr(policy, "lstm_actor", None)
    return PolicyData(
        network=network,
        activation=activation,
        net_arch=tuple(policy.net_arch),
        log_std_init=0.0 if network == _ACTOR else getattr(policy, "log_std_init", 0.0),  # choices have none
        columns=tuple(getattr(policy, "columns", ())),
        signatures=tuple(map(tuple, getattr(policy, "signatures", ()))),
        levels=tuple(map(tuple, getattr(policy, "levels", ()))),
        memory=None if lstm is None else MemoryData(units=lstm.hidden_size, layers=lstm.num_layers),
        observation_space=SpaceData.of(policy.observation_space),
        action_space=SpaceData.of(policy.action_space),
    )


def _short(bounds: Any) -> tuple[float, ...]:
    """The bounds of a Box, or one number where all are equal."""
    same = bool((bounds == bounds.flat[0]).all())
    return tuple(bounds.ravel()[: 1 if same else None].tolist())


def _built(data: PolicyData) -> Any:
    spaces_of = data.observation_space.space(), data.action_space.space()
    options: dict[str, Any] = {"net_arch": list(data.net_arch), "activation_fn": _ACTIVATIONS[data.activation]}
    networks = _networks()
    if data.network not in networks:
        raise ImportError("this policy needs sb3_contrib: pip install 'dss_marl[train]'")
    with th.random.fork_rng(devices=[]):  # the first weights are drawn, and nobody's random numbers should move
        if data.network == _ACTOR:
            features = FlattenExtractor(spaces_of[0])
            return Actor(*spaces_of, features_extractor=features, features_dim=features.features_dim, **options)  # type: ignore[arg-type]
        return networks[data.network](*spaces_of, lambda _: 0.0, **options, **_options(data))


def _options(data: PolicyData) -> dict[str, Any]:
    """Options of an actor-critic policy's network."""
    options: dict[str, Any] = {"ortho_init": False}
    if data.network != "maskable_mlp":
        options["log_std_init"] = data.log_std_init
    if data.network in ("masked_gaussian", "mixed", "masked_lstm"):
        options["columns"] = data.columns
    if data.network == "mixed":
        options |= {"signatures": data.signatures, "levels": data.levels}
    if data.network in ("lstm", "masked_lstm"):
        if data.memory is None:
            raise ValueError(f"network {data.network!r} needs 'memory'")
        options |= {"lstm_hidden_size": data.memory.units, "n_lstm_layers": data.memory.layers}
    return options


def _networks() -> dict[str, Any]:
    networks: dict[str, Any] = {
        "mlp": ActorCriticPolicy,
        "masked_gaussian": MaskedGaussianPolicy,
        "mixed": MixedPolicy,
        _ACTOR: Actor,
    }
    try:
        from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
        from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy

        from dss_marl.integrations.sb3.recurrent_policy import MaskedRecurrentPolicy
    except ImportError:
        return networks
    return {
        **networks,
        "maskable_mlp": MaskableActorCriticPolicy,
        "lstm": RecurrentActorCriticPolicy,
        "masked_lstm": MaskedRecurrentPolicy,
    }
