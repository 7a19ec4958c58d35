"""The budget: its resource, its provider, and that without one nothing of a stack changes."""

import json
import re

import pytest

from planning.advice import EXAMPLE_PROJECT
from preview import Snapshot
from tests.recording import PROJECT_NUMBER, ROOT, Record

ACCOUNT = "012345-6789AB-CDEF01"
BUDGET = json.dumps({"billingAccount": ACCOUNT, "monthlyUsd": 25000})


@pytest.fixture
def budgeted(record: Record) -> Snapshot:
    return record("prod", up=True, config={"budget": BUDGET})


def test_it_is_of_the_whole_project_by_its_number_for_a_month(budgeted: Snapshot) -> None:
    assert budgeted.named("budget-month").inputs == {
        "billingAccount": ACCOUNT,
        "displayName": f"llmserve in {EXAMPLE_PROJECT}",
        # No label: what bears none is paid for as well.
        "budgetFilter": {"projects": [f"projects/{PROJECT_NUMBER}"], "calendarPeriod": "MONTH"},
        "amount": {"specifiedAmount": {"currencyCode": "USD", "units": "25000"}},
        "thresholdRules": [
            {"thresholdPercent": 0.5, "spendBasis": "CURRENT_SPEND"},
            {"thresholdPercent": 0.9, "spendBasis": "CURRENT_SPEND"},
            {"thresholdPercent": 1.0, "spendBasis": "CURRENT_SPEND"},
            {"thresholdPercent": 1.0, "spendBasis": "FORECASTED_SPEND"},
        ],
    }


def test_thresholds_are_those_that_the_stack_names(record: Record) -> None:
    named = json.dumps({"billingAccount": ACCOUNT, "monthlyUsd": 1, "thresholds": [0.25, 2]})
    rules = record("prod", config={"budget": named}).named("budget-month").inputs["thresholdRules"]
    assert [(rule["thresholdPercent"], rule["spendBasis"]) for rule in rules] == [
        (0.25, "CURRENT_SPEND"),
        (2, "CURRENT_SPEND"),
        (1, "FORECASTED_SPEND"),
    ]


def test_its_provider_names_a_project_that_pays_for_its_calls_and_is_nobody_elses(budgeted: Snapshot) -> None:
    provider = budgeted.named("google-billing")
    assert provider.inputs["billingProject"] == EXAMPLE_PROJECT
    assert str(provider.inputs["userProjectOverride"]).lower() == "true"
    users = [r.name for r in budgeted.resources if r.provider.rpartition("::")[0] == provider.urn]
    assert users == ["budget-month"]


def test_a_stack_without_a_budget_has_neither_it_nor_its_provider(record: Record) -> None:
    without, budgeted = record("prod"), record("prod", config={"budget": BUDGET})
    added = {resource.name for resource in budgeted.resources} - {resource.name for resource in without.resources}
    assert added == {"budget", "budget-month", "google-billing"}
    shared = [resource for resource in budgeted.resources if resource.name not in added]
    assert [(r.urn, r.inputs) for r in shared] == [(r.urn, r.inputs) for r in without.resources]


def test_no_stack_of_ours_names_somebodys_billing_account() -> None:
    for path in ROOT.glob("Pulumi.*.yaml"):
        assert not re.search(r"[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}", path.read_text(encoding="utf-8")), path
