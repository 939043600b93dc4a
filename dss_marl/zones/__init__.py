"""Zones: partitions of a feeder into sets of buses, by methods on its graph, checked by build_zones.

A partition method is a function graph -> sets of buses; ``METHODS`` lists the shipped ones. ``zone_graph`` gives the
neighbouring zones, ``partition_quality`` measures of a partition.
"""

from __future__ import annotations

from dss_marl.zones.around import around
from dss_marl.zones.builder import build_zones, check_partition
from dss_marl.zones.clustering import communities, electrical
from dss_marl.zones.cutting import balanced, cut
from dss_marl.zones.mapping_file import mapping, write_mapping
from dss_marl.zones.neighbours import zone_graph
from dss_marl.zones.partition import Partition, Parts, feeder_graph
from dss_marl.zones.quality import partition_quality
from dss_marl.zones.registry import METHODS, partition
from dss_marl.zones.rows import ROW_KINDS, ZoneRows
from dss_marl.zones.tree_partitions import laterals, phases
from dss_marl.zones.zone import Zone, over_zones, stack, zone_batched

__all__ = [
    "METHODS",
    "ROW_KINDS",
    "Partition",
    "Parts",
    "Zone",
    "ZoneRows",
    "around",
    "balanced",
    "build_zones",
    "check_partition",
    "communities",
    "cut",
    "electrical",
    "feeder_graph",
    "laterals",
    "mapping",
    "over_zones",
    "partition",
    "partition_quality",
    "phases",
    "stack",
    "write_mapping",
    "zone_batched",
    "zone_graph",
]
