"""From agents' actions to devices: the action layout and three encodings."""

from collections.abc import Sequence

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
]

ENCODINGS: dict[str, type[Encoding]] = {
    kind.name: kind for kind in (BoxEncoding, MultiDiscreteEncoding, NativeEncoding)
}


def encoding(name: str, action_layout: ActionLayout, groups: Sequence[DeviceGroup], levels: int) -> Encoding:
    """The encoding called ``name``: box, multidiscrete or native.

    Raises:
        ValueError: the devices cannot be addressed that way.
    """
    return ENCODINGS[name](action_layout, groups, levels)
