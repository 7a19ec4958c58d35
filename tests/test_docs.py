"""The documents are true: every key is there, every command exists, every figure follows from the catalogue."""

import re
from functools import cache
from typing import Any

import pytest

import preview
from catalog.gpu_machines import gpu_machines
from catalog.prices import PRICES_READ_ON, Kind, price_of, usd
from planning.explanation import explanation
from planning.quotas import quotas
from planning.schema import Batching, Declared, Gpu, Metrics, Model, MonthlyBudget, Objective, Rollout, Scaling, Version
from preview import cost_text
from preview.document import document
from preview.text import Style, render
from scripts.tables import DOCS, TABLES, marks, rewritten, whole
from settings import COST_KEY, GOOGLE_KEYS, KEYS, TOKEN_KEY
from tests.recording import ROOT, Record, decided

README = (ROOT / "README.md").read_text(encoding="utf-8")
SETTINGS = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def test_every_key_of_a_stack_is_documented() -> None:
    for key in [*KEYS, TOKEN_KEY]:
        name = key if key in GOOGLE_KEYS.values() else key.partition(":")[2]
        assert f"`{name}`" in SETTINGS, key


def test_every_key_of_a_model_is_documented() -> None:
    prefixes: dict[type[Declared], str] = {
        Model: "",
        Gpu: "gpu.",
        Objective: "slo.",
        Scaling: "scaling.",
        Rollout: "rollout.",
    }
    prefixes |= {Batching: "", Metrics: "", Version: ""}
    objects = {"gpu", "slo", "scaling", "rollout"}
    for model, prefix in prefixes.items():
        for field in model.model_fields.values():
            assert field.alias in objects or f"`{prefix}{field.alias}`" in SETTINGS, f"{model.__name__}.{field.alias}"


def test_every_key_of_a_budget_is_documented() -> None:
    for field in MonthlyBudget.model_fields.values():
        assert f"`{field.alias}`" in SETTINGS, field.alias


def test_every_documented_key_exists() -> None:
    known = {key.partition(":")[2] for key in [*KEYS, TOKEN_KEY, COST_KEY]} | set(GOOGLE_KEYS.values())
    for model, prefix in (
        (Model, ""),
        (Gpu, "gpu."),
        (Objective, "slo."),
        (Scaling, "scaling."),
        (Rollout, "rollout."),
    ):
        known |= {f"{prefix}{field.alias}" for field in model.model_fields.values()}
    for row in re.findall(r"^\| (`[^|]+`) \|", SETTINGS, re.MULTILINE):
        assert set(re.findall(r"`([^`]+)`", row)) <= known, row


def test_every_default_in_the_table_is_the_one_that_holds() -> None:
    rows = dict(re.findall(r"^\| `([^`|]+)` \| `([^`|]+)` \|", SETTINGS, re.MULTILINE))
    project = (ROOT / "Pulumi.yaml").read_text(encoding="utf-8")
    for key, default in rows.items():
        if f"  {key}:\n" in project:
            assert re.search(
                rf"  {key}:\n    type: \w+\n(    items: .*\n)?    default: {re.escape(default)}\n", project
            ), key


@pytest.mark.parametrize("page", TABLES)
def test_the_tables_in_the_documents_are_those_that_the_command_makes(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert whole(page, text) == text, "stale: make tables"


def test_a_table_without_its_marks_is_refused() -> None:
    opening, closing = marks("one")
    assert rewritten(f"a\n{opening}\nold\n{closing}\nb", "one", "new") == f"a\n{opening}\nnew\n{closing}\nb"
    with pytest.raises(ValueError, match="marks"):
        rewritten(f"a\n{opening}\nold\nb", "one", "new")


def test_every_make_target_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in DOCUMENTS:
        named = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", page.read_text(encoding="utf-8")))
        assert named <= targets, page


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_every_link_leads_somewhere(document: object) -> None:
    path = ROOT / str(document)
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_the_preview_shows_what_the_readme_shows(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = render(document(record("prod")), stack="prod (llmserve)", style=Style())
    told = explanation(decided("prod", {}, {}, monkeypatch))
    bill = cost_text.text(price(), stack="prod")
    for text, excerpt in zip((tree, told, bill), re.findall(r"```text\n(.*?)```", README, re.DOTALL), strict=True):
        for line in excerpt.splitlines():
            assert "…" in line or line in text.splitlines(), line


@cache
def price() -> dict[str, Any]:
    """What the preview says that prod costs, but for how old its prices are."""
    found: dict[str, Any] = preview.record(ROOT, "prod", cost=True).cost
    return found


def test_every_test_that_a_trap_names_exists() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", (ROOT / "docs" / "traps.md").read_text(encoding="utf-8")):
        assert f"def {name}(" in tests


def test_what_prod_costs_to_leave_on_follows_from_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    llama = next(model for model in decided("prod", {}, {}, monkeypatch).models if model.name == "llama-3-3-70b")
    awake = sum(version.replicas.minimum for version in llama.versions)
    floor = sum(version.replicas.floor for version in llama.versions)
    spot, on_demand = llama.machine.spot_usd_per_hour or 0, llama.machine.on_demand_usd_per_hour or 0
    text = README.replace("\n", " ")
    mixed = floor * on_demand + (awake - floor) * spot
    assert f"{awake * llama.machine.gpus} A100 80 GB, {mixed:.2f} an hour with the floor on demand" in text
    assert f"({awake * spot:.2f} with both on spot, {awake * on_demand:.2f} with both on demand)" in text
    assert f"At list prices of {PRICES_READ_ON}" in text


def test_the_quota_to_ask_for_is_what_prod_can_grow_to(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = decided("prod", {}, {}, monkeypatch)
    largest = {m.name: sum(v.replicas.maximum for v in m.versions) * m.machine.gpus for m in plan.models}
    arr_coc, llama = largest["arr-coc-0-1"], largest["llama-3-3-70b"]
    amounts = {quota.name: quota.amount for quota in quotas(plan)}
    most = amounts["GPUS_ALL_REGIONS"]
    text = README.replace("\n   ", " ")
    spot = amounts["PREEMPTIBLE_NVIDIA_A100_80GB_GPUS"]
    assert f"Prod takes {spot} of `PREEMPTIBLE_NVIDIA_A100_80GB_GPUS` (spot), {most} of" in text
    assert most == amounts["NVIDIA_A100_80GB_GPUS"]
    rollouts = most - arr_coc - llama
    assert f"{arr_coc} for `arr-coc-0-1`, {llama} for Llama, {rollouts} for rollouts" in text


def test_what_prod_would_be_at_managed_endpoints_follows_from_its_bill() -> None:
    [way] = [way for way in price()["comparison"] if way["way"] == "managed-aws"]
    assert f"prod as it stands would be {way['autoscaled']:,.2f} a month there" in README.replace("\n", " ")


def test_an_on_demand_card_costs_more_than_a_managed_one() -> None:
    """What the README tells a reader who should not use this."""
    aws, gcp = (price_of("hugging-face-a100-x1", Kind.ON_DEMAND, vendor) for vendor in ("aws", "gcp"))
    text = README.replace("\n", " ")
    assert f"listed at {aws.usd:.2f} an hour (AWS) and {gcp.usd:.2f} (GCP)" in text
    assert f"price page of {gcp.read_on}" in text
    one = [m.on_demand_usd_per_hour or 99 for m in gpu_machines() if m.machine_type == "a2-ultragpu-1g"]
    assert min(one) > usd("hugging-face-a100-x1", Kind.ON_DEMAND, "gcp")
    spot = [m.spot_usd_per_hour or 0 for m in gpu_machines() if m.machine_type == "a2-ultragpu-1g"]
    assert max(spot) > usd("hugging-face-a100-x1", Kind.ON_DEMAND, "aws")
