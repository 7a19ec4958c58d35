"""What the tiers of `make test-real` rest on and needs no program."""

import pytest
import yaml

from tests.real import rendered, test_preview_role, test_scanners
from tests.recording import ROOT, Record

PARAMETERS = sorted({*rendered.STACKS, *test_preview_role.STACKS, *test_scanners.STACKS})


@pytest.mark.parametrize("stack", PARAMETERS)
def test_a_stack_that_is_a_parameter_makes_something(record: Record, stack: str) -> None:
    """`cost` has outputs only: no chart, no object and no pod to look at."""
    made = record(stack)
    assert sum(resource.custom for resource in made.resources) > 10
    assert rendered.releases(stack)


def test_every_excuse_names_a_scanner_a_check_and_a_reason() -> None:
    excuses = yaml.safe_load((ROOT / "tests" / "real" / "excuses.yaml").read_text(encoding="utf-8"))
    for excuse in excuses:
        assert excuse["scanner"]
        assert excuse["checks"]
        assert len(excuse["reason"]) > 10
