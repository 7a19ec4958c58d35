"""`make prices` against a made-up Cloud Billing Catalog.

Every SKU here is made up, in the form that https://docs.cloud.google.com/billing/v1/how-tos/catalog-api documents; the
prices of the parts were chosen, and no answer of Google's was recorded.
"""

import csv
import json
import urllib.parse
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.gpu_machines import gpu_machines
from catalog.prices import FILE, Kind, prices, read_prices
from scripts import prices as command
from scripts.prices import Catalogue, NotFoundError, Shape, parts_of, refreshed, shape_of, sku_of
from scripts.terminal import OperationError

KEY = "not-a-real-key"
TODAY = date(2026, 11, 26)
AMERICAS = ["us-central1", "us-east5"]


def sku(description: str, group: str, unit: str, price: str, **other: Any) -> dict[str, Any]:
    """A made-up SKU with a single rate."""
    units, nanos = divmod(int(Decimal(price) * 10**9), 10**9)
    rate = {"startUsageAmount": 0, "unitPrice": {"currencyCode": "USD", "units": str(units), "nanos": nanos}}
    return {
        "name": "services/6F81-5844-456A/skus/0000-0000-0000",
        "skuId": "0000-0000-0000",
        "description": description,
        "category": {
            "serviceDisplayName": "Compute Engine",
            "resourceFamily": "Compute",
            "resourceGroup": group,
            "usageType": other.get("usage", "OnDemand"),
        },
        "serviceRegions": other.get("regions", AMERICAS),
        "pricingInfo": [
            {
                "summary": "",
                "pricingExpression": {
                    "usageUnit": unit,
                    "displayQuantity": 1,
                    "tieredRates": other.get("rates", [rate]),
                },
                "currencyConversionRate": 1,
                "effectiveTime": "2026-11-25T00:00:00Z",
            }
        ],
        "serviceProviderName": "Google",
    }


A100_80GB = "Nvidia Tesla A100 80GB GPU"
SPOT = {"usage": "Preemptible"}
PARTS = [
    sku("A2 Instance Core running in Columbus", "CPU", "h", "0.03"),
    sku("A2 Instance Ram running in Columbus", "RAM", "GiBy.h", "0.004"),
    sku(f"{A100_80GB} running in Columbus", "GPU", "h", "4.5"),
    sku("SSD backed Local Storage", "LocalSSD", "GiBy.mo", "0.0876"),
    sku("Spot Preemptible A2 Instance Core running in Columbus", "CPU", "h", "0.01", **SPOT),
    sku("Spot Preemptible A2 Instance Ram running in Columbus", "RAM", "GiBy.h", "0.001", **SPOT),
    sku(f"{A100_80GB} attached to Spot Preemptible VMs running in Columbus", "GPU", "h", "1.5", **SPOT),
    sku("SSD backed Local Storage attached to Spot Preemptible VMs", "LocalSSD", "GiBy.mo", "0.0438", **SPOT),
]
ON_DEMAND = Decimal("0.03") * 12 + Decimal("0.004") * 170 + Decimal("4.5") + Decimal("0.0876") * 375 / 730
ONE_SPOT = Decimal("0.01") * 12 + Decimal("0.001") * 170 + Decimal("1.5") + Decimal("0.0438") * 375 / 730
OTHERS = [
    # What has nearly the same name, and is bought otherwise.
    sku("Reserved A2 Instance Core running in Columbus", "CPU", "h", "9"),
    sku("DWS Defined Duration A2 Instance Core running in Columbus", "CPU", "h", "9"),
    sku("A2 Instance Core attached to DWS Defined Duration VMs running in Columbus", "CPU", "h", "9"),
    sku(f"{A100_80GB} attached to DWS Defined Duration VMs running in Columbus", "GPU", "h", "9"),
    sku("Nvidia Tesla A100 GPU running in Columbus", "GPU", "h", "9"),
    sku(f"Commitment v1: {A100_80GB} running in Columbus for 1 Year", "GPU", "h", "9", usage="Commit1Yr"),
    sku("A2 Instance Core running in Frankfurt", "CPU", "h", "9", regions=["europe-west3"]),
    sku("N2 Custom Instance Core running in Columbus", "CPU", "h", "9"),
    sku("Regional Balanced PD Capacity", "SSD", "GiBy.mo", "9"),
    sku("SSD backed PD Capacity", "SSD", "GiBy.mo", "9"),
    sku("SSD backed Local Storage attached to something else", "LocalSSD", "GiBy.mo", "9"),
]
DISK = sku("Balanced PD Capacity", "SSD", "GiBy.mo", "0.1")


class Google(BaseHTTPRequestHandler):
    """A catalogue that wants a key in the header and gives two SKUs a page."""

    skus: list[dict[str, Any]]
    answer: bytes | None
    asked: list[dict[str, str]]
    for_ever = False

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        self.asked.append(query)
        allowed = self.headers.get("X-Goog-Api-Key") == KEY
        self.send_response(200 if allowed else 403)
        self.end_headers()
        if self.answer is not None:
            self.wfile.write(self.answer)
            return
        begins = int(query.get("pageToken", 0))
        rest = begins + 2 < len(self.skus)
        token = "2" if self.for_ever else str(begins + 2) if rest else ""
        self.wfile.write(json.dumps({"skus": self.skus[begins : begins + 2], "nextPageToken": token}).encode())


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Google]]:
    handler = type("Fresh", (Google,), {"skus": [*PARTS, *OTHERS, DISK], "answer": None, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    monkeypatch.setattr(command, "URL", f"http://127.0.0.1:{server.server_port}/v1/services/6F81-5844-456A/skus")
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    yield handler
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to write to, of what us-east5 has of the machines and disks, and of what is never refreshed."""
    path = tmp_path / "prices.csv"
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        kept = ("a2-ultragpu-", "pd-balanced", "e2-standard-4", "cloud-nat", "hugging-face-a100-x1")
        writer.writerows(
            row for row in rows if row["item"].startswith(kept) and row["region"] in ("us-east5", "global", "gcp")
        )
    monkeypatch.setattr(command, "FILE", path)
    return path


def told(price: Decimal) -> str:
    return f"{price.quantize(Decimal('0.000001')).normalize():f}"


def run(*arguments: str) -> int:
    return command.main(arguments, today=TODAY)


def test_it_shows_what_moved_and_writes_nothing(
    google: type[Google], table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = table.read_bytes()
    assert run() == 0
    shown = capsys.readouterr().out
    assert f"a2-ultragpu-1g in us-east5, on-demand: 5.564915 -> {told(ON_DEMAND)} (+0.4%)" in shown
    assert f"a2-ultragpu-8g in us-east5, spot: 15.27166 -> {told(8 * ONE_SPOT)} (-5.1%)" in shown
    assert "pd-balanced in us-east5, on-demand" not in shown
    assert "5 of 9 rows were found, 8 prices moved" in shown
    assert table.read_bytes() == before
    assert len(google.asked) == 10
    assert google.asked[1] == {"currencyCode": "USD", "pageSize": "5000", "pageToken": "2"}


def test_what_it_cannot_refresh_is_listed_with_the_reason(
    google: type[Google], capsys: pytest.CaptureFixture[str]
) -> None:
    assert google.answer is None
    assert run() == 0
    shown = capsys.readouterr().out
    assert "  cloud-nat-data in global: the catalogue is not asked for it" in shown
    assert "  hugging-face-a100-x1 in gcp: the catalogue is not asked for it" in shown
    assert "  e2-standard-4 in us-east5: no SKU is called E2 Instance Core running in .+, OnDemand, us-east5" in shown


def test_write_changes_what_was_found_and_nothing_else(google: type[Google], table: Path) -> None:
    assert google.answer is None
    before = {(p.item, p.region, p.kind): p for p in read_prices(table)}
    header = table.read_text(encoding="utf-8").splitlines()[0]
    assert run("--write") == 0
    assert table.read_text(encoding="utf-8").splitlines()[0] == header
    after = {(p.item, p.region, p.kind): p for p in read_prices(table)}
    assert after.keys() == before.keys()
    for key, price in after.items():
        if price.item.startswith("a2-ultragpu") or price.item == "pd-balanced":
            assert (price.read_on, price.source, price.note) == (TODAY, command.SOURCE, before[key].note)
        else:
            assert price == before[key]
    cards = {1: "1g", 2: "2g", 4: "4g", 8: "8g"}
    for number, name in cards.items():
        found = after[f"a2-ultragpu-{name}", "us-east5", Kind.ON_DEMAND].usd
        assert found == pytest.approx(float(number * ON_DEMAND), abs=1e-6)
        assert after[f"a2-ultragpu-{name}", "us-east5", Kind.COMMITTED_1_YEAR].usd is None, "what is unknown stays so"
    assert run("--write") == 0
    assert after == {(p.item, p.region, p.kind): p for p in read_prices(table)}


BROKEN: dict[str, tuple[int, dict[str, Any] | None, str]] = {
    "missing": (1, None, "no SKU is called A2 Instance Ram running in .+, OnDemand, us-east5"),
    "two prices": (
        len(PARTS),
        sku("A2 Instance Core running in Ohio", "CPU", "h", "0.031"),
        "A2 Instance Core running in .+, OnDemand, us-east5 has no single price",
    ),
    "tiers": (
        2,
        sku(f"{A100_80GB} running in Columbus", "GPU", "h", "1", rates=[{"unitPrice": {}}, {"unitPrice": {}}]),
        "has no single price",
    ),
    "no rate": (2, sku(f"{A100_80GB} running in Columbus", "GPU", "h", "1", rates=[]), "has no single price"),
    "currency": (
        2,
        sku(
            f"{A100_80GB} running in Columbus",
            "GPU",
            "h",
            "1",
            rates=[{"unitPrice": {"currencyCode": "EUR", "units": "4", "nanos": 0}}],
        ),
        "has no single price",
    ),
    "unit": (3, sku("SSD backed Local Storage", "LocalSSD", "GiBy.h", "0.0876"), "is sold by GiBy.h, not by GiBy.mo"),
    "free": (0, sku("A2 Instance Core running in Columbus", "CPU", "h", "0"), "costs nothing"),
    "usage": (
        0,
        sku("A2 Instance Core running in Columbus", "CPU", "h", "0.03", usage="Commit1Yr"),
        "no SKU is called",
    ),
    "region": (
        0,
        sku("A2 Instance Core running in Iowa", "CPU", "h", "0.03", regions=["us-central1"]),
        "no SKU is called",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_row_of_which_one_part_is_not_certain_keeps_all_its_prices(
    what: str, google: type[Google], table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, other, reason = BROKEN[what]
    google.skus = [*PARTS[:place], *([other] if other else []), *PARTS[place + 1 :], DISK]
    before = [price for price in read_prices(table) if price.item.startswith("a2-")]
    assert run("--write") == 0
    shown = capsys.readouterr().out
    assert [line for line in shown.splitlines() if line.startswith("  a2-ultragpu-1g in us-east5: ") and reason in line]
    assert [price for price in read_prices(table) if price.item.startswith("a2-")] == before
    assert "1 of 9 rows were found, 0 prices moved" in shown


def test_two_skus_with_one_price_are_one(google: type[Google], capsys: pytest.CaptureFixture[str]) -> None:
    google.skus = [*PARTS, sku("A2 Instance Core running in Ohio", "CPU", "h", "0.03")]
    assert run() == 0
    assert "4 of 9 rows were found" in capsys.readouterr().out


def test_the_key_is_asked_for_and_never_shown(
    google: type[Google], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    monkeypatch.setenv("GOOGLE_API_KEY", "another-key")
    assert run("--write") == 1
    shown = capsys.readouterr()
    assert "the Cloud Billing Catalog API answered 403; nothing was changed" in shown.out
    assert all(key not in shown.out + shown.err for key in (KEY, "another-key"))
    assert all("key" not in query for query in google.asked)
    for nothing in ("", " ", "two\nlines", "not ascii: é"):
        monkeypatch.setenv("GOOGLE_API_KEY", nothing)
        with pytest.raises(
            OperationError, match=r"^set GOOGLE_API_KEY to an API key that may use .* nothing was changed$"
        ):
            run()
    monkeypatch.delenv("GOOGLE_API_KEY")
    with pytest.raises(OperationError, match="set GOOGLE_API_KEY"):
        run()


def test_without_a_network_nothing_is_changed(
    table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    monkeypatch.setattr(command, "URL", "http://127.0.0.1:1/skus")
    before = table.read_bytes()
    assert run("--write") == 1
    shown = capsys.readouterr().out
    assert "could not be asked" in shown
    assert "older than 60 days" in shown
    assert table.read_bytes() == before


@pytest.mark.parametrize(
    "answer", [b"<html>", b"[]", b"{}", b'{"skus": [{}]}', b'{"skus": [{"pricingInfo": 3}]}', b"\xff"]
)
def test_an_answer_of_another_form_is_refused(answer: bytes, google: type[Google], table: Path) -> None:
    google.answer = answer
    before = table.read_bytes()
    with pytest.raises(OperationError, match="not of the documented form"):
        run("--write")
    assert table.read_bytes() == before


def test_a_catalogue_without_anything_known_changes_nothing(
    google: type[Google], table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    google.skus = OTHERS
    before = table.read_bytes()
    assert run("--write") == 1
    assert "nothing was found, so nothing was changed" in capsys.readouterr().out
    assert table.read_bytes() == before


def test_what_differs_by_rounding_did_not_move(google: type[Google], capsys: pytest.CaptureFixture[str]) -> None:
    google.skus = [sku("Balanced PD Capacity", "SSD", "GiBy.mo", "0.100009")]
    assert run() == 0
    assert "no price moved" in capsys.readouterr().out
    google.skus = [sku("Balanced PD Capacity", "SSD", "GiBy.mo", "0.100011")]
    assert run() == 0
    assert "pd-balanced in us-east5, on-demand: 0.1 -> 0.100011 (+0.0%)" in capsys.readouterr().out


def test_pages_without_an_end_are_refused(google: type[Google]) -> None:
    google.for_ever = True
    with pytest.raises(OperationError, match="one page for ever"):
        run()


@given(st.integers(min_value=0, max_value=10**6), st.integers(min_value=0, max_value=10**9 - 1))
def test_units_and_nanos_are_one_price(units: int, nanos: int) -> None:
    rate = {"unitPrice": {"currencyCode": "USD", "units": str(units), "nanos": nanos}}
    found = sku_of(sku("x", "CPU", "h", "1", rates=[rate]))
    assert found.usd == Decimal(f"{units}.{nanos:09d}")


def test_a_price_of_less_than_a_dollar_may_lack_its_units() -> None:
    assert sku_of(sku("x", "CPU", "h", "1", rates=[{"unitPrice": {"currencyCode": "USD", "nanos": 5}}])).usd == Decimal(
        "5e-9"
    )
    none = sku("x", "CPU", "h", "1") | {"pricingInfo": []}
    assert sku_of(none).usd is None


def test_every_machine_of_the_table_has_a_shape() -> None:
    for item in {price.item for price in prices()}:
        assert (shape_of(item) is not None) == item.startswith(("a2-", "a3-", "g2-", "e2-", "n2-", "n4-")), item
    assert shape_of("a3-highgpu-8g") == Shape(
        series="A3", vcpus=208, memory_gib=1872, card="Nvidia H100 80GB", cards=8, local_ssd_gib=6000
    )
    assert shape_of("g2-standard-24") == Shape(series="G2", vcpus=24, memory_gib=96, card="Nvidia L4", cards=2)
    assert shape_of("n4-standard-8") == Shape(series="N4", vcpus=8, memory_gib=32)
    assert {len(parts_of(machine.machine_type)) for machine in gpu_machines() if machine.local_ssd_gib} == {4}


@pytest.mark.parametrize(
    ("item", "expected"), [("pd-ssd", Decimal("9")), ("pd-balanced", Decimal("0.1"))], ids=["ssd", "balanced"]
)
def test_disks_in_one_resource_group_are_told_apart(item: str, expected: Decimal) -> None:
    catalogue = Catalogue([sku_of(one) for one in (DISK, *OTHERS)])
    assert catalogue.usd(item, Kind.ON_DEMAND, "us-east5") == expected


@pytest.mark.parametrize(
    "item",
    [
        *("artifact-registry-storage", "cloud-dns-zone", "cloud-dns-queries", "cloud-logging"),
        *("cloud-storage-standard", "inter-zone-data", "secret-manager-access", "secret-manager-version"),
        *("flex-start-a2-highgpu-1g", "flex-start-a3-highgpu-8g", "gke-cluster"),
    ],
)
def test_what_it_cannot_refresh_it_says(item: str) -> None:
    row = next(row for row in csv.DictReader(FILE.read_text(encoding="utf-8").splitlines()) if row["item"] == item)
    (kept,) = refreshed([row], Catalogue([sku_of(one) for one in (*PARTS, DISK, *OTHERS)]))
    assert kept.problem == "the catalogue is not asked for it"
    assert kept.written(TODAY) == row


def test_what_has_no_name_as_a_kind_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="no name is known for it as spot"):
        Catalogue([]).usd("pd-balanced", Kind.SPOT, "us-east5")
