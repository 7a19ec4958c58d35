"""What Google watches the month's bill against."""

import pulumi
import pulumi_gcp as gcp

from components.identity import project_number
from planning.schema import MonthlyBudget


class Budget(pulumi.ComponentResource):
    """A budget of the whole project for each calendar month, after credits; it tells, and stops nothing.

    It has no filter by label: the NAT and what it carries, for one, bear none, and a budget that misses them promises
    too much. So what else is in the project counts as well. It tells the billing account's administrators and users, as
    Google does by default, and makes no other way to be told. Google refuses it where the billing account's currency is
    not the US dollar: an amount in another currency would be another amount.
    https://cloud.google.com/billing/docs/reference/budget/rest/v1/billingAccounts.budgets

    Its provider has to name a project that pays for its calls: the Budgets API refuses a person's own credentials
    without one (the SDK's documentation of `gcp.billing.Budget`).
    """

    def __init__(
        self, name: str, budget: MonthlyBudget, *, project: str, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """Make the budget in its billing account."""
        super().__init__("llmserve:index:Budget", name, None, opts)
        number = project_number(project, self)
        made = gcp.billing.Budget(
            f"{name}-month",
            billing_account=budget.billing_account,
            display_name=f"llmserve in {project}",
            budget_filter=gcp.billing.BudgetBudgetFilterArgs(
                projects=[pulumi.Output.concat("projects/", number)], calendar_period="MONTH"
            ),
            amount=gcp.billing.BudgetAmountArgs(
                specified_amount=gcp.billing.BudgetAmountSpecifiedAmountArgs(
                    currency_code="USD", units=str(budget.monthly_usd)
                )
            ),
            threshold_rules=[
                *(
                    gcp.billing.BudgetThresholdRuleArgs(threshold_percent=part, spend_basis="CURRENT_SPEND")
                    for part in budget.thresholds
                ),
                # Before it is spent: when the month is on the way to the whole amount.
                gcp.billing.BudgetThresholdRuleArgs(threshold_percent=1.0, spend_basis="FORECASTED_SPEND"),
            ],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"budget": made.name})
