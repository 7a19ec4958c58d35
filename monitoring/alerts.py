"""What every alert has: how long it lasts, whom it is for, what it means, and where it says what to do."""

RUNBOOKS = "docs/runbooks.md"
"""Where each alert has a heading of its own name."""


def alert(
    name: str, expression: str, *, lasting: str, severity: str, summary: str, description: str
) -> dict[str, object]:
    """Give an alerting rule. `lasting` is a duration of Prometheus: so long the expression has an element."""
    return {
        "alert": name,
        "expr": expression,
        "for": lasting,
        "labels": {"severity": severity},
        "annotations": {
            "summary": summary,
            "description": description,
            "runbook": f"{RUNBOOKS}#{name.lower()}",
        },
    }
