"""From an agent's action to its devices: slots, and the three encodings."""

from dss_marl.spaces.encodings import ENCODINGS, Boxes, Decoded, Encoding, MultiDiscretes, Natives, encoding
from dss_marl.spaces.slots import Slots

__all__ = ["ENCODINGS", "Boxes", "Decoded", "Encoding", "MultiDiscretes", "Natives", "Slots", "encoding"]
