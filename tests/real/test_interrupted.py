"""Tier 2: an update that is cut off, and what a person then does, as docs/real-things.md says."""

import json
import random
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts import unstick
from tests.real.engine import Engine, end_group, forgotten, imagined
from tests.real.stand_in import Cloud, Kind, Server, id_in

TIER = "interrupted"

SEED = 20261123
STACK = "dev"
UP = ("up", "--yes", "--skip-preview", "--stack", STACK)
DESTROY = ("destroy", "--yes", "--skip-preview", "--stack", STACK)


@dataclass(frozen=True, kw_only=True, slots=True)
class Interruption:
    """Where an update is cut off: at its `count`th operation, before it takes effect or after."""

    count: int
    after_effect: bool
    how: signal.Signals = signal.SIGKILL


def interruptions(seed: int, count: int, *, within: int) -> list[Interruption]:
    """Random places to cut an update off, the same in every run."""
    chosen = random.Random(seed)  # noqa: S311 - no secret
    return [Interruption(count=chosen.randint(1, within), after_effect=chosen.random() < 0.5) for _ in range(count)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Interrupted:
    """A stack whose updates are cut off."""

    engine: Engine
    cloud: Cloud

    def cut_off(self, arguments: tuple[str, ...], interruption: Interruption) -> bool:
        """Run pulumi and end it at the interruption; whether it was reached."""
        seen, lock, hit = [0], threading.Lock(), threading.Event()
        process = self.engine.start(*arguments)

        def interrupt(_kind: Kind, _urn: str, done: bool) -> None:  # noqa: FBT001 - the shape of a callback
            if done is interruption.after_effect:
                with lock:
                    seen[0] += 1
                    reached = seen[0] == interruption.count
                if reached:
                    end_group(process, interruption.how)
                    hit.set()

        self.cloud.interrupt = interrupt
        try:
            process.communicate(timeout=120)
        finally:
            end_group(process, signal.SIGKILL)
            self.cloud.wait_until_idle()
            self.cloud.interrupt = lambda *_: None
        assert hit.is_set() == (process.returncode != 0)
        return hit.is_set()

    def repair(self) -> None:
        """Do what `make unstick` does, with the ids of the stand-in."""
        self.engine.mend_state(STACK)
        self.engine.run("cancel", "--yes", STACK)
        whole = json.loads(self.engine.run("stack", "export", "--stack", STACK).stdout)
        ids = {
            resource["urn"]: id_in(self.cloud, resource["urn"], resource.get("inputs", {})) or "was-not-made"
            for resource in unstick.pending_creates(whole["deployment"])
        }
        whole["deployment"] = unstick.adopt(whole["deployment"], ids)
        file = self.engine.project / "state.json"
        file.write_text(json.dumps(whole), encoding="utf-8")
        self.engine.run("stack", "import", "--stack", STACK, "--file", str(file))
        self.engine.run("refresh", "--yes", "--skip-preview", "--stack", STACK)

    def is_known(self) -> None:
        """Nothing exists that the engine does not know of, and the other way round."""
        state = self.engine.state(STACK)
        assert forgotten(self.cloud, state) == set()
        assert imagined(self.cloud, state) == set()
        assert not state.get("pending_operations")

    def is_whole(self) -> None:
        """Everything that the program asks for exists, once."""
        self.is_known()
        wanted = sorted(
            step["urn"]
            for step in self.engine.offline(STACK)["steps"]
            if step["newState"]["custom"] and not step["newState"]["type"].startswith("pulumi:providers:")
        )
        assert sorted(found.urn for found in self.cloud.existing.values()) == wanted


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Interrupted]:
    cloud = Cloud(seconds=0.03)
    with Server(cloud) as server:
        engine = Engine(tmp_path, server.attach)
        engine.make(STACK)
        yield Interrupted(engine=engine, cloud=cloud)


def test_an_up_that_is_killed_again_and_again_converges(dev: Interrupted) -> None:
    for interruption in interruptions(SEED, 10, within=4):
        assert dev.cut_off(UP, interruption)
        dev.repair()
        dev.is_known()
    dev.engine.up(STACK)
    dev.is_whole()
    assert all(operation.made for operation in dev.cloud.ledger)


def test_a_change_that_is_killed_converges(dev: Interrupted) -> None:
    """The largest change there is: the cluster was replaced, so everything in it is made anew."""
    dev.engine.up(STACK)
    dev.cloud.existing = {place: found for place, found in dev.cloud.existing.items() if not place.cluster}
    dev.engine.settings(STACK, {"llmserve:capacity": "on-demand", "llmserve:clusterGeneration": 2})
    for interruption in interruptions(SEED + 1, 3, within=8):
        assert dev.cut_off(UP, interruption)
        dev.repair()
    dev.engine.up(STACK)
    dev.is_whole()


def test_a_destroy_that_is_killed_leaves_nothing_in_the_end(dev: Interrupted) -> None:
    dev.engine.up(STACK)
    for interruption in interruptions(SEED + 2, 2, within=12):
        assert dev.cut_off(DESTROY, interruption)
        dev.repair()
        dev.is_known()
    dev.engine.run(*DESTROY)
    assert dev.cloud.existing == {}


def test_an_up_that_is_asked_to_end_finishes_what_it_began(dev: Interrupted) -> None:
    assert dev.cut_off(UP, Interruption(count=9, after_effect=False, how=signal.SIGTERM))
    dev.is_known()
    dev.engine.up(STACK)
    dev.is_whole()


def test_without_repair_the_engine_refuses_and_then_makes_things_twice(dev: Interrupted) -> None:
    """Why there is something to repair: the lock stays, and the next update does not look for what was being made."""
    assert dev.cut_off(UP, Interruption(count=9, after_effect=False))
    locked = dev.engine.run(*UP, code=1)
    assert "pulumi cancel" in locked.stdout + locked.stderr
    dev.engine.run("cancel", "--yes", STACK)
    begun = [operation["resource"] for operation in dev.engine.state(STACK)["pending_operations"]]
    chosen = {resource["urn"] for resource in begun if resource["inputs"].get("name", "").startswith("network-")}
    assert chosen
    dev.engine.up(STACK)
    assert forgotten(dev.cloud, dev.engine.state(STACK)) == chosen
