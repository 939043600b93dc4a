"""From an agent's action to its devices: action layout and encodings."""

from collections.abc import Sequence

from dss_marl._plugins import imported
from dss_marl.devices import DeviceGroup
from dss_marl.mdp.actions.action_layout import ActionLayout
from dss_marl.mdp.actions.box import BoxEncoding
from dss_marl.mdp.actions.encoding import DecodedActions, Encoding
from dss_marl.mdp.actions.multidiscrete import MultiDiscreteEncoding
from dss_marl.mdp.actions.native import NativeEncoding

__all__ = [
    "ENCODINGS",
    "ActionLayout",
    "BoxEncoding",
    "DecodedActions",
    "Encoding",
    "MultiDiscreteEncoding",
    "NativeEncoding",
    "encoding",
    "encoding_kind",
]

ENCODINGS: dict[str, type[Encoding]] = {
    kind.name: kind for kind in (BoxEncoding, MultiDiscreteEncoding, NativeEncoding)
}


def encoding_kind(name: str) -> type[Encoding]:
    """The encoding called ``name``, or your own as ``package.module:Class``, a subclass of Encoding or of a known one.

    Raises:
        ValueError: unknown encoding; the message lists the known ones.
    """
    kind = ENCODINGS.get(name) or imported(name, "encoding", ENCODINGS)
    if not (isinstance(kind, type) and issubclass(kind, Encoding)):
        raise ValueError(f"encoding {name!r} is not a subclass of dss_marl.mdp.actions.Encoding")
    return kind


def encoding(name: str, action_layout: ActionLayout, groups: Sequence[DeviceGroup], levels: int) -> Encoding:
    """The encoding called ``name`` for the devices of some agents.

    Raises:
        ValueError: unknown encoding, or the devices cannot be addressed that way.
    """
    return encoding_kind(name)(action_layout, groups, levels)
