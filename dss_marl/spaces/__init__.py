"""From an agent's action to its devices: slots, and the three encodings."""

from collections.abc import Sequence

from dss_marl.devices import DeviceGroup
from dss_marl.spaces.boxes import Boxes
from dss_marl.spaces.choices import MultiDiscretes
from dss_marl.spaces.encoding import Decoded, Encoding
from dss_marl.spaces.natives import Natives
from dss_marl.spaces.slots import Slots

__all__ = ["ENCODINGS", "Boxes", "Decoded", "Encoding", "MultiDiscretes", "Natives", "Slots", "encoding"]

ENCODINGS: dict[str, type[Encoding]] = {kind.name: kind for kind in (Boxes, MultiDiscretes, Natives)}


def encoding(name: str, slots: Slots, groups: Sequence[DeviceGroup], levels: int) -> Encoding:
    """The encoding called ``name``: box, multidiscrete or native.

    Raises:
        ValueError: the devices cannot be addressed that way.
    """
    return ENCODINGS[name](slots, groups, levels)
