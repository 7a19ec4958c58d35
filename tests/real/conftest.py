"""One table at the end: what was held against which real thing, and what was not and why."""

from collections import Counter

import pytest

_TIERS: dict[str, Counter[str]] = {}
_REASONS: dict[str, list[str]] = {}


def _tier(module: object) -> str:
    return str(getattr(module, "TIER", getattr(module, "__name__", module)))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]  # noqa: ARG001
    outcome = yield
    report = outcome.get_result()
    tier = _tier(getattr(item, "module", item))
    counts = _TIERS.setdefault(tier, Counter())
    if report.skipped:
        counts["skipped"] += 1
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        if reason not in _REASONS.setdefault(tier, []):
            _REASONS[tier].append(reason)
    elif report.failed:
        counts["failed"] += 1
    elif report.when == "call":
        counts["ran"] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of tiers."""
    if not _TIERS:
        return
    width = max(map(len, _TIERS))
    terminalreporter.section("held against the real things")
    terminalreporter.write_line(f"{'tier':{width}}  result   checks  failures  skipped")
    for tier, counts in _TIERS.items():
        checks = counts["ran"] + counts["failed"]
        result = "FAILED" if counts["failed"] else "ran" if checks else "skipped"
        line = f"{tier:{width}}  {result:7}  {checks:6}  {counts['failed']:8}  {counts['skipped']:7}"
        terminalreporter.write_line(line, red=bool(counts["failed"]))
        for reason in _REASONS.get(tier, []):
            terminalreporter.write_line(f"{'':{width}}  skipped: {reason}")
