"""From an agent's action to its devices: slots, and the three encodings."""

from collections.abc import Sequence

from dss_marl.devices import DeviceGroup
from dss_marl.mdp.actions.box import Boxes
from dss_marl.mdp.actions.encoding import Decoded, Encoding
from dss_marl.mdp.actions.multidiscrete import MultiDiscretes
from dss_marl.mdp.actions.native import Natives
from dss_marl.mdp.actions.slots import Slots

__all__ = ["ENCODINGS", "Boxes", "Decoded", "Encoding", "MultiDiscretes", "Natives", "Slots", "encoding"]

ENCODINGS: dict[str, type[Encoding]] = {kind.name: kind for kind in (Boxes, MultiDiscretes, Natives)}


def encoding(name: str, slots: Slots, groups: Sequence[DeviceGroup], levels: int) -> Encoding:
    """The encoding called ``name``: box, multidiscrete or native.

    Raises:
        ValueError: the devices cannot be addressed that way.
    """
    return ENCODINGS[name](slots, groups, levels)
