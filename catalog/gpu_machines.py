"""Google Cloud's A2 machine types: their A100 cards and their zones; their list prices are those of catalog/prices.csv.

vCPUs and memory: Cyclenerd/google-cloud-pricing-cost-calculator, build/gcp.yml at commit dac31281.
Zones: skypilot-org/skypilot-catalog, catalogs/v9/gcp/vms.csv at commit 2c3d7ea7, from the Compute Engine API, 2026.
A zone in the list has the machine type; whether it has free capacity, and your project the quota, nobody can promise.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from catalog.prices import Kind, price_of


class GpuType(StrEnum):
    """An accelerator, by the name that Google Cloud and GKE's node label `cloud.google.com/gke-accelerator` use."""

    A100_40GB = "nvidia-tesla-a100"
    A100_80GB = "nvidia-a100-80gb"


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuMachine:
    """One machine type in one region. Memory in GiB, prices in USD an hour for the whole machine; None is unknown."""

    machine_type: str
    gpu_type: GpuType
    gpus: int
    gpu_memory_gib: int
    vcpus: int
    memory_gib: int
    local_ssd_gib: int
    region: str
    zones: tuple[str, ...]
    on_demand_usd_per_hour: float | None
    spot_usd_per_hour: float | None


@cache
def gpu_machines() -> tuple[GpuMachine, ...]:
    """Every A2 machine type in every region that has a zone with it. Raises LookupError where one has no price row."""
    with (Path(__file__).parent / "gpu_machines.csv").open(encoding="utf-8", newline="") as table:
        return tuple(
            GpuMachine(
                machine_type=row["machine_type"],
                gpu_type=GpuType(row["gpu_type"]),
                gpus=int(row["gpus"]),
                gpu_memory_gib=int(row["gpu_memory_gib"]),
                vcpus=int(row["vcpus"]),
                memory_gib=int(row["memory_gib"]),
                local_ssd_gib=int(row["local_ssd_gib"]),
                region=row["region"],
                zones=tuple(row["zones"].split()),
                on_demand_usd_per_hour=price_of(row["machine_type"], Kind.ON_DEMAND, row["region"]).usd,
                spot_usd_per_hour=price_of(row["machine_type"], Kind.SPOT, row["region"]).usd,
            )
            for row in csv.DictReader(table)
        )


def machines_with(gpu_type: GpuType, gpus: int | None = None, region: str | None = None) -> list[GpuMachine]:
    """The machines with that card and, where given, exactly so many of them and in that region."""
    return [
        machine
        for machine in gpu_machines()
        if machine.gpu_type is gpu_type
        and (gpus is None or machine.gpus == gpus)
        and (region is None or machine.region == region)
    ]


def sizes_of(gpu_type: GpuType) -> list[int]:
    """How many of a card a machine may have."""
    return sorted({machine.gpus for machine in machines_with(gpu_type)})


def regions_of(machines: Iterable[GpuMachine]) -> list[str]:
    """Their regions, sorted, each once."""
    return sorted({machine.region for machine in machines})
