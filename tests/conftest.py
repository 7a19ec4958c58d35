"""The recorded programs, as fixtures."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from preview import Snapshot
from tests import promtools
from tests.recording import Record, recorded

TODAY = datetime(2026, 11, 30, tzinfo=UTC)
"""The day of every recording, so that none begins to warn of what has ended since."""
os.environ["SOURCE_DATE_EPOCH"] = str(int(TODAY.timestamp()))


@pytest.fixture(params=promtools.HOW, ids=lambda major: f"Prometheus {major}")
def promtool(request: pytest.FixtureRequest) -> Path:
    """Prometheus' own tool, in each major version."""
    found = promtools.found().get(request.param)
    if found is None:
        pytest.skip(f"promtool {request.param} is absent: {promtools.HOW[request.param]}")
    return found


@pytest.fixture
def record() -> Record:
    return recorded


@pytest.fixture
def prod() -> Snapshot:
    return recorded("prod")


@pytest.fixture
def dev() -> Snapshot:
    return recorded("dev")


@pytest.fixture(
    params=[(stack, up) for stack in ("dev", "prod") for up in (False, True)],
    ids=lambda p: f"{p[0]}-{'up' if p[1] else 'preview'}",
)
def program(request: pytest.FixtureRequest) -> Snapshot:
    """Every stack, both as a first preview and as an update that knows every output."""
    stack, up = request.param
    return recorded(stack, up=up)
