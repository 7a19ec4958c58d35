"""The price table against the arithmetic of its sources, its look-ups, its age, and the brief's own sums."""

import csv
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.gpu_machines import gpu_machines
from catalog.prices import (
    BRIEF,
    COLUMNS,
    EGRESS_TIERS,
    FILE,
    GLOBAL,
    MONTH_HOURS,
    OLD_DAYS,
    PRICES_READ_ON,
    Kind,
    Placement,
    Price,
    Unit,
    UnknownPriceError,
    age,
    age_text,
    internet_egress_usd,
    oldest,
    price_of,
    prices,
    read_prices,
    usd,
)
from planning.simulate.claims import bills, saved
from planning.simulate.scenario import NAT_USD_PER_GB

EXACT = 0.000_005
"""The sources round a machine to the micro-dollar, and the table keeps what they say."""
REGIONS = sorted({machine.region for machine in gpu_machines()})
MACHINES = [price for price in prices() if price.item.startswith(("a2-", "a3-", "g2-", "e2-", "n2-", "n4-"))]
UNBELIEVED = {"asia-northeast1", "asia-northeast3"}
"""Their source lists egress that is dearer for more."""
OLD = {"flex-start-a3-highgpu-1g", "flex-start-a3-highgpu-8g"}
"""No later source is known; their notes say that they are older than the rest."""


def of(item: str, kind: Kind) -> dict[str, float]:
    found = {p.region: p.usd for p in prices() if (p.item, p.kind) == (item, kind)}
    return {region: price for region, price in found.items() if price is not None}


def test_every_price_has_unit_source_and_date() -> None:
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(prices()) > len(rows) > 500
    for price in prices():
        assert isinstance(price.unit, Unit)
        assert len(price.source) > 20, price
        assert date(2026, 1, 1) <= price.read_on <= date(2027, 1, 1) or price.item in OLD, price
        assert price.usd is None or price.usd > 0, price
    assert set(rows[0]) == {
        *("item", "region", "unit", "placement", "sla_percent", "read_on", "source", "note"),
        *COLUMNS.values(),
    }


def test_each_is_said_once() -> None:
    said = Counter((price.item, price.kind, price.region) for price in prices())
    assert set(said.values()) == {1}
    header = (FILE.parent / "gpu_machines.csv").read_text(encoding="utf-8").partition("\n")[0]
    assert "usd" not in header


def test_nothing_comes_from_a_row_that_is_not_believed() -> None:
    """The other catalogue took commitments for on-demand prices: A100 40 GB at 2.43 to 2.65, 80 GB at 2.95 to 3.32."""
    assert "SUSPECT" not in FILE.read_text(encoding="utf-8")
    assert {p.item for p in prices() if p.source.startswith("skypilot")} == {"nvidia-tesla-t4"}
    assert min(of("a2-highgpu-1g", Kind.ON_DEMAND).values()) > 3.6
    assert min(of("a2-ultragpu-1g", Kind.ON_DEMAND).values()) > 5


READ = [
    ("a2-highgpu-1g", Kind.ON_DEMAND, "us-central1", "2026-08-20", 3.673385),
    ("a2-highgpu-1g", Kind.SPOT, "us-central1", "2026-08-20", 2.12081),
    ("a2-highgpu-1g", Kind.COMMITTED_1_YEAR, "us-west4", "2026-08-20", 2.457012),
    ("a2-highgpu-1g", Kind.COMMITTED_3_YEARS, "europe-west4", "2026-08-20", 1.311818),
    ("a2-ultragpu-1g", Kind.SPOT, "us-east5", "2026-08-20", 1.908958),
    ("a3-highgpu-8g", Kind.ON_DEMAND, "us-central1", "2026-08-20", 88.49),
    ("g2-standard-4", Kind.ON_DEMAND, "us-central1", "2026-08-20", 0.706832),
    ("nvidia-tesla-t4", Kind.SPOT, "us-central1", "2026-11-23", 0.1915),
    ("e2-standard-4", Kind.ON_DEMAND, "us-central1", "2026-08-20", 0.134023),
    ("n2-standard-8", Kind.SPOT, "us-central1", "2026-08-20", 0.222944),
    ("n4-standard-4", Kind.SPOT, "us-central1", "2026-08-20", 0.10836),
    ("pd-balanced", Kind.ON_DEMAND, "us-east5", "2026-08-20", 0.1),
    ("pd-standard", Kind.ON_DEMAND, "us-central1", "2026-08-20", 0.04),
    ("local-ssd", Kind.SPOT, "us-central1", "2026-08-20", 0.048),
    ("forwarding-rule", Kind.ON_DEMAND, "us-central1", "2026-09-20", 0.025),
    ("gke-cluster", Kind.ON_DEMAND, GLOBAL, "2026-08-21", 0.1),
    ("hugging-face-a100-x8", Kind.ON_DEMAND, "gcp", "2026-05-19", 28.8),
    ("hugging-face-h100-x8", Kind.ON_DEMAND, "gcp", "2026-05-19", 80),
    ("hugging-face-l40s-x8", Kind.ON_DEMAND, "aws", "2026-05-19", 23.5),
    ("hugging-face-intel-spr-x16", Kind.ON_DEMAND, "aws", "2026-05-19", 0.536),
    ("a3-highgpu-8g", Kind.COMMITTED_1_YEAR, "us-central1", "2026-08-20", 61.383672),
    ("g2-standard-32", Kind.COMMITTED_1_YEAR, "us-east4", "2026-08-20", 1.089079),
    ("g2-standard-24", Kind.COMMITTED_3_YEARS, "europe-west4", "2026-08-20", 0.946339),
    ("e2-standard-4", Kind.COMMITTED_1_YEAR, "us-central1", "2026-08-20", 0.084434),
    ("n2-standard-2", Kind.COMMITTED_3_YEARS, "us-west3", "2026-08-20", 0.052494),
    ("n4-standard-2", Kind.COMMITTED_3_YEARS, "europe-west4", "2026-08-20", 0.044167),
    ("pd-ssd", Kind.ON_DEMAND, "asia-northeast1", "2026-08-20", 0.221),
    ("cloud-storage-standard", Kind.ON_DEMAND, "me-west1", "2026-08-20", 0.021),
    ("inter-zone-data", Kind.ON_DEMAND, GLOBAL, "2026-09-20", 0.01),
    ("cloud-dns-zone", Kind.ON_DEMAND, GLOBAL, "2026-09-20", 0.2),
    ("cloud-dns-queries", Kind.ON_DEMAND, GLOBAL, "2026-09-20", 0.4),
    ("cloud-logging", Kind.ON_DEMAND, GLOBAL, "2026-09-12", 0.5),
    ("artifact-registry-storage", Kind.ON_DEMAND, GLOBAL, "2026-04-02", 0.1),
    ("secret-manager-version", Kind.ON_DEMAND, GLOBAL, "2026-04-02", 0.06),
    ("secret-manager-access", Kind.ON_DEMAND, GLOBAL, "2026-04-02", 0.03),
    ("flex-start-a2-highgpu-1g", Kind.ON_DEMAND, "us-central1", "2026-08-02", 2.02038),
    ("flex-start-a3-highgpu-8g", Kind.ON_DEMAND, "us-central1", "2025-08-16", 38.320038),
]
"""Read by hand from the sources, with their dates: a price that was refreshed since is another."""


@pytest.mark.parametrize(("item", "kind", "region", "day", "expected"), READ)
def test_prices_are_those_of_the_sources(item: str, kind: Kind, region: str, day: str, expected: float) -> None:
    price = price_of(item, kind, region)
    assert price.read_on > date.fromisoformat(day) or price.usd == expected


@pytest.mark.parametrize(
    "machine", [m for m in gpu_machines() if m.gpus in (2, 4, 8)], ids=lambda m: f"{m.machine_type}-{m.region}"
)
def test_machines_with_more_cards_cost_as_many_times_one(machine: object) -> None:
    assert isinstance(machine, type(gpu_machines()[0]))
    one = f"{machine.machine_type.rpartition('-')[0]}-1g"
    for kind in Kind:
        single, many = (price_of(item, kind, machine.region).usd for item in (one, machine.machine_type))
        if single is None or many is None:
            assert single is many, kind
        else:
            assert many == pytest.approx(machine.gpus * single, abs=machine.gpus * EXACT)


@pytest.mark.parametrize(("larger", "times"), [("2g", 2), ("4g", 4), ("8g", 8)])
def test_an_h100_machine_costs_as_many_times_one(larger: str, times: int) -> None:
    for kind in (Kind.ON_DEMAND, Kind.SPOT):
        ones, many = of("a3-highgpu-1g", kind), of(f"a3-highgpu-{larger}", kind)
        assert ones.keys() == many.keys()
        assert all(many[region] == pytest.approx(times * ones[region], abs=times * EXACT) for region in ones)


@pytest.mark.parametrize("series", ["e2", "n2", "n4"])
def test_cpu_machines_cost_what_their_vcpus_cost(series: str) -> None:
    for kind in Kind:
        small = of(f"{series}-standard-2", kind)
        assert sorted(small) == REGIONS
        for vcpus in (4, 8, 16):
            for region, price in of(f"{series}-standard-{vcpus}", kind).items():
                assert price == pytest.approx(small[region] * vcpus / 2, abs=vcpus * EXACT)


@pytest.mark.parametrize("kind", Kind)
def test_l4_machines_cost_what_their_cards_and_vcpus_cost(kind: Kind) -> None:
    one, four = of("g2-standard-4", kind), of("g2-standard-48", kind)
    assert len(one) == 11
    for vcpus, cards in ((8, 1), (12, 1), (16, 1), (24, 2), (32, 1), (96, 8)):
        for region, price in of(f"g2-standard-{vcpus}", kind).items():
            vcpu = (four[region] - 4 * one[region]) / 32
            assert price == pytest.approx(cards * (one[region] - 4 * vcpu) + vcpus * vcpu, abs=2 * vcpus * EXACT)


def test_commitments_are_known_where_there_are_any_and_three_years_cost_less_than_one() -> None:
    short = {(p.item, p.region): p.usd for p in prices() if p.kind is Kind.COMMITTED_1_YEAR}
    long = {(p.item, p.region): p.usd for p in prices() if p.kind is Kind.COMMITTED_3_YEARS}
    assert short.keys() == long.keys()
    for what, price in short.items():
        three = long[what]
        assert (price is None) is (three is None), what
        assert price is None or three is None or three < price, what
    unknown = {item for (item, _), price in short.items() if price is None}
    assert {item for item in unknown if not item.startswith("a2-")} == {
        "nvidia-tesla-t4",
        *(f"a3-highgpu-{cards}g" for cards in (1, 2, 4)),
    }


def test_a_machine_of_flex_start_costs_about_half_of_on_demand() -> None:
    machines = {p.item: p for p in prices() if p.item.startswith("flex-start-")}
    assert {p.region for p in machines.values()} == {"us-central1"}
    assert all(p.kind is Kind.ON_DEMAND for p in machines.values()), "there is one way to buy it"
    for item, flex in machines.items():
        regular = usd(item.removeprefix("flex-start-"), Kind.ON_DEMAND, "us-central1")
        assert flex.usd is not None
        assert 0.4 * regular < flex.usd < 0.6 * regular
    one, eight = (usd(f"flex-start-a3-highgpu-{cards}g", Kind.ON_DEMAND, "us-central1") for cards in (1, 8))
    assert eight == pytest.approx(8 * one, abs=8 * EXACT)


def test_the_sum_of_an_ultra_machine_has_its_local_ssd() -> None:
    """375 GiB of it: without, the other catalogue's row for asia-southeast1 is lower by just that."""
    ssd = 375 * usd("local-ssd", Kind.ON_DEMAND, "asia-southeast1") / MONTH_HOURS
    if price_of("a2-ultragpu-1g", Kind.ON_DEMAND, "asia-southeast1").read_on == date(2026, 8, 20):
        assert usd("a2-ultragpu-1g", Kind.ON_DEMAND, "asia-southeast1") - 6.202480 == pytest.approx(ssd, abs=1e-5)


def test_a_month_is_730_hours() -> None:
    """A figure that two sources have: a2-highgpu-1g in us-central1 for a month."""
    assert MONTH_HOURS * usd("a2-highgpu-1g", Kind.ON_DEMAND, "us-central1") == pytest.approx(2681.57, abs=0.005)
    assert MONTH_HOURS * usd("cloud-nat-gateway", Kind.ON_DEMAND, GLOBAL) == pytest.approx(32.704)


def test_spot_and_commitments_are_below_on_demand_wherever_both_are_known() -> None:
    both = 0
    for price in MACHINES:
        regular = price_of(price.item, Kind.ON_DEMAND, price.region).usd
        if price.kind is not Kind.ON_DEMAND and price.usd is not None and regular is not None:
            both += 1
            assert price.usd < regular, price
    assert both > 850


def test_three_years_of_an_a100_are_cheaper_than_spot_and_one_year_is_not() -> None:
    """What a reader of "60 to 91 % off" does not expect; a day's finding, of 2026-08-20."""
    if date(2026, 8, 20) != PRICES_READ_ON:
        return
    one, three = of("a2-highgpu-1g", Kind.COMMITTED_1_YEAR), of("a2-highgpu-1g", Kind.COMMITTED_3_YEARS)
    for region, spot in of("a2-highgpu-1g", Kind.SPOT).items():
        assert three[region] < spot < one[region]


def test_every_machine_of_the_catalogue_has_its_prices_from_the_table() -> None:
    for machine in gpu_machines():
        assert machine.on_demand_usd_per_hour == usd(machine.machine_type, Kind.ON_DEMAND, machine.region)
        assert machine.spot_usd_per_hour == price_of(machine.machine_type, Kind.SPOT, machine.region).usd
    unknown = [(m.machine_type, m.region) for m in gpu_machines() if m.spot_usd_per_hour is None]
    assert unknown == [("a2-megagpu-16g", "asia-southeast1"), ("a2-megagpu-16g", "europe-west4")]


@pytest.mark.parametrize("item", ["pd-balanced", "pd-ssd", "pd-standard", "local-ssd", "cloud-storage-standard"])
def test_every_region_with_a_machine_has_its_disks_and_buckets(item: str) -> None:
    assert set(REGIONS) <= set(of(item, Kind.ON_DEMAND))
    assert {p.unit for p in prices() if p.item == item} == {Unit.GIB_MONTH}


def test_the_simulator_takes_the_nat_from_the_table() -> None:
    assert NAT_USD_PER_GB == usd("cloud-nat-data", Kind.ON_DEMAND, GLOBAL) == 0.045
    assert price_of("cloud-nat-data", Kind.ON_DEMAND, GLOBAL).unit is Unit.GB


@pytest.mark.parametrize(
    ("item", "unit"),
    [
        ("cloud-dns-zone", Unit.MONTH),
        ("cloud-dns-queries", Unit.MILLION),
        ("cloud-logging", Unit.GIB),
        ("artifact-registry-storage", Unit.GB_MONTH),
        ("secret-manager-version", Unit.MONTH),
        ("secret-manager-access", Unit.TEN_THOUSAND),
        ("inter-zone-data", Unit.GIB),
    ],
)
def test_what_the_services_cost_is_the_same_everywhere_and_has_its_unit(item: str, unit: Unit) -> None:
    assert [(p.region, p.unit, p.kind) for p in prices() if p.item == item] == [(GLOBAL, unit, Kind.ON_DEMAND)]


def test_a_zone_costs_for_a_month_what_its_hours_cost() -> None:
    assert usd("cloud-dns-zone", Kind.ON_DEMAND, GLOBAL) == pytest.approx(MONTH_HOURS * 0.000273973, abs=1e-6)


def test_only_managed_endpoints_promise_something() -> None:
    assert {p.sla_percent for p in prices() if p.placement is Placement.OWN} == {None}
    assert {p.sla_percent for p in prices() if p.placement is Placement.MANAGED} == {99.9}
    assert {p.placement for p in prices() if p.item.startswith("hugging-face-")} == {Placement.MANAGED}
    assert BRIEF.managed_sla_percent == 99.9


@pytest.mark.parametrize(("vendor", "one"), [("aws", 2.5), ("gcp", 3.6)])
def test_managed_cards_cost_as_many_times_one(vendor: str, one: float) -> None:
    for cards in (1, 2, 4, 8):
        assert usd(f"hugging-face-a100-x{cards}", Kind.ON_DEMAND, vendor) == pytest.approx(cards * one)


def test_the_least_of_the_managed_prices_are_those_that_the_brief_names() -> None:
    """Its processor at 0.032 is deprecated; those that are not begin at 0.033."""
    managed = {p.item: p.usd for p in prices() if p.placement is Placement.MANAGED and p.region == "aws" and p.usd}
    processors = {item: price for item, price in managed.items() if "-intel-" in item}
    assert min(processors.values()) == processors["hugging-face-intel-icl-x1"] == BRIEF.managed_cpu_usd_per_hour
    assert min(price for item, price in processors.items() if "-icl-" not in item) == 0.033
    cards = managed.keys() - processors.keys()
    assert min(managed[card] for card in cards) == BRIEF.managed_gpu_usd_per_hour_range[0]
    for card in ("t4", "l4", "a10g", "l40s"):
        assert managed[f"hugging-face-{card}-x4"] > 4 * managed[f"hugging-face-{card}-x1"], "four in one cost more"


# Look-ups


def test_an_item_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(
        LookupError, match=r"no spot price of a2-highgpu-3g in us-central1: the table has a2-highgpu-1g, "
    ):
        price_of("a2-highgpu-3g", Kind.SPOT, "us-central1")


def test_a_region_without_the_item_is_told_with_those_that_have_it() -> None:
    where = "asia-southeast1, europe-west4, us-central1, us-east4, us-east5"
    with pytest.raises(UnknownPriceError, match=rf"^no on-demand price of a2-ultragpu-1g in us-west1: .* in {where}$"):
        price_of("a2-ultragpu-1g", Kind.ON_DEMAND, "us-west1")


def test_a_kind_that_is_not_sold_is_told_with_those_that_are() -> None:
    with pytest.raises(
        LookupError, match=r"^no spot price of cloud-nat-data in global: there it is sold as on-demand$"
    ):
        price_of("cloud-nat-data", Kind.SPOT, GLOBAL)


def test_a_price_that_nobody_knows_is_none_and_no_number() -> None:
    assert price_of("a2-megagpu-16g", Kind.SPOT, "europe-west4").usd is None
    expected = (
        r"^the spot price of a2-megagpu-16g in europe-west4 is unknown \(spot and .* not read\); known: on-demand 56"
    )
    with pytest.raises(LookupError, match=expected):
        usd("a2-megagpu-16g", Kind.SPOT, "europe-west4")
    for region in UNBELIEVED:
        with pytest.raises(UnknownPriceError, match=r"is unknown \(not believed: .*\); known: none"):
            internet_egress_usd(1, region)


@given(st.sampled_from(prices()))
def test_whatever_is_in_the_table_is_found(price: Price) -> None:
    assert price_of(price.item, price.kind, price.region) is price


@given(st.text(max_size=20), st.sampled_from(Kind), st.text(max_size=20))
def test_whatever_is_not_is_refused_by_name(item: str, kind: Kind, region: str) -> None:
    with pytest.raises(UnknownPriceError) as refused:
        price_of(item, kind, region)
    assert f"no {kind} price of {item} in {region}" in str(refused.value)


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ("x,us-east5,USD an hour,1,,,,own,,2026-08-20,s", KeyError),
        ("x,us-east5,EUR an hour,1,,,,own,,2026-08-20,s,", ValueError),
        ("x,us-east5,USD an hour,cheap,,,,own,,2026-08-20,s,", ValueError),
        ("x,us-east5,USD an hour,1,,,,own,,yesterday,s,", ValueError),
        ("x,us-east5,USD an hour,1,,,,rented,,2026-08-20,s,", ValueError),
    ],
)
def test_a_table_that_is_none_is_refused(row: str, error: type[Exception], tmp_path: Path) -> None:
    header = FILE.read_text(encoding="utf-8").partition("\n")[0]
    if error is KeyError:
        header = header.removesuffix(",note")
    (tmp_path / "prices.csv").write_text(f"{header}\n{row}\n", encoding="utf-8")
    with pytest.raises(error):
        read_prices(tmp_path / "prices.csv")


# Egress

gibs = st.floats(min_value=0, max_value=10**6)
regions = st.sampled_from(sorted({p.region for p in prices() if p.item == EGRESS_TIERS[0][0]} - UNBELIEVED))


def test_egress_is_charged_tier_by_tier() -> None:
    assert internet_egress_usd(0, "us-central1") == 0
    assert internet_egress_usd(1024, "us-central1") == pytest.approx(1024 * 0.12)
    assert internet_egress_usd(20_480, "us-central1") == pytest.approx(1024 * 0.12 + 9216 * 0.11 + 10_240 * 0.08)


@given(gibs, gibs, regions)
def test_more_egress_costs_more_and_each_gib_no_more_than_the_first(some: float, more: float, region: str) -> None:
    first = usd(EGRESS_TIERS[0][0], Kind.ON_DEMAND, region)
    last = usd(EGRESS_TIERS[-1][0], Kind.ON_DEMAND, region)
    added = internet_egress_usd(some + more, region) - internet_egress_usd(some, region)
    assert more * last - 0.01 <= added <= more * first + 0.01


# Age


def test_the_date_is_that_of_the_a2_prices() -> None:
    dates = [p.read_on for p in prices() if p.item.startswith("a2-")]
    assert min(dates) == PRICES_READ_ON >= date(2026, 8, 20)
    assert oldest(p for p in prices() if p.placement is Placement.MANAGED) >= date(2026, 5, 19)
    with pytest.raises(ValueError, match="empty"):
        oldest([])


def test_what_is_read_within_sixty_days_is_dated_and_what_is_older_is_warned_of() -> None:
    day = date(2026, 8, 20)
    assert age_text(date(2026, 10, 19), day) == "list prices of 2026-08-20"
    warned = "list prices of 2026-08-20, 61 days old: older than 60 days, `make prices` shows what moved"
    assert age_text(date(2026, 10, 20), day) == warned
    assert age_text(date(2026, 8, 19), day) == "list prices of 2026-08-20", "a clock that is wrong"
    assert age_text(PRICES_READ_ON) == f"list prices of {PRICES_READ_ON}"


@given(st.dates(), st.integers(min_value=0, max_value=3000))
def test_the_text_says_the_day_and_warns_from_the_first_day_too_many(read_on: date, days: int) -> None:
    try:
        today = read_on + timedelta(days=days)
    except OverflowError:
        return
    assert age(today, read_on) == days
    text = age_text(today, read_on)
    assert str(read_on) in text
    assert (f"{days} days old" in text) is (days > OLD_DAYS)


# The brief


def test_the_briefs_sums_are_those_of_its_own_prices() -> None:
    always, slept = bills()[:2]
    assert always.usd == BRIEF.always_on_usd == BRIEF.month_hours * BRIEF.managed_gpu_usd_per_hour == 3240
    assert slept.usd == BRIEF.slept_usd == BRIEF.used_hours * BRIEF.spot_gpu_usd_per_hour == 500
    assert round(100 * saved(slept, always)) == BRIEF.saved_percent == 85
    assert (BRIEF.managed_cpu_usd_per_hour, BRIEF.managed_gpu_usd_per_hour_range) == (0.032, (0.50, 5.00))


def test_the_briefs_hourly_prices_are_in_no_price_list() -> None:
    """They stay beside the sourced ones: none of these is asked for an A100, and 2.50 on a managed one, not on spot."""
    cards = [p for p in prices() if p.item in ("hugging-face-a100-x1", "a2-highgpu-1g", "a2-ultragpu-1g")]
    assert BRIEF.managed_gpu_usd_per_hour not in {p.usd for p in cards if p.placement is Placement.MANAGED}
    assert BRIEF.spot_gpu_usd_per_hour not in {p.usd for p in cards if p.kind is Kind.SPOT}
