"""Tier 2, in a real cluster: Helm releases that were cut off, and what `make unstick` does about them."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts import terminal, unstick
from scripts.unstick import Release, releases
from tests.real.api_server import ApiServer, running, wait_until
from tests.real.engine import Engine, end_group
from tests.real.programs import need

TIER = "pending releases"

TINY = Path(__file__).parent / "tiny"
UP = ("up", "--yes", "--skip-preview", "--stack", "dev")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """An API server without controllers: nothing in it becomes ready that has to be waited for."""

    server: ApiServer
    environment: dict[str, str]

    def release(self) -> Release | None:
        return next((found for found in releases(self.environment) if found.name == "tiny"), None)

    def status(self) -> str:
        found = self.release()
        return found.status if found else "gone"

    def kill_while(self, status: str, start: Callable[[], subprocess.Popen[str]]) -> None:
        """Start a program, and kill it with all that it started as soon as the release has this status."""
        process = start()
        try:
            wait_until(lambda: self.status() == status or process.poll() is not None, status, seconds=60)
        finally:
            end_group(process, signal.SIGKILL)
            process.communicate()
        assert self.status() == status

    def helm(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["helm", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def helm_done(self, *arguments: str) -> None:
        process = self.helm(*arguments)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said

    def greeting(self) -> str:
        return str(self.server.request("GET", "/api/v1/namespaces/default/configmaps/tiny").body["data"]["greeting"])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    for program in ("helm", "kubectl"):
        need(program)
    with running(tmp_path_factory.mktemp("cluster")) as server:
        yield Cluster(server=server, environment={**os.environ, "KUBECONFIG": str(server.kubeconfig)})


@pytest.fixture
def engine(tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    engine = Engine(tmp_path, "", need("pulumi-resource-kubernetes"), source=TINY)
    engine.make("dev")
    engine.settings("dev", {"tiny:kubeconfig": str(cluster.server.kubeconfig)})
    monkeypatch.chdir(engine.project)
    for name, value in engine.environment.items():
        monkeypatch.setenv(name, value if name != "PATH" else f"{engine.path}:{os.environ['PATH']}")
    monkeypatch.setattr(unstick, "cluster_environment", lambda _place, _folder: cluster.environment)
    yield engine
    # Not `pulumi destroy`: it waits for a garbage collector, which is a controller.
    cluster.helm_done("uninstall", "tiny", "--ignore-not-found")
    cluster.server.request("DELETE", "/api/v1/namespaces/default/configmaps/first")


def unstuck(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr("sys.argv", ["unstick", "dev", "--yes"])
    with pytest.raises(SystemExit) as ended:
        terminal.run(unstick.main)
    said = capfd.readouterr()
    assert ended.value.code == 0, said.out + said.err
    return said.out


def test_an_up_that_is_killed_in_the_middle_of_a_release_goes_on_after_unstick(
    engine: Engine, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    engine.settings("dev", {"tiny:waits": True})
    cluster.kill_while("pending-install", lambda: engine.start(*UP))
    said = unstuck(monkeypatch, capfd)
    assert "default/tiny: was pending-install, is gone" in said
    assert "tiny: was not made" in said
    engine.settings("dev", {"tiny:waits": False})
    engine.up("dev")
    assert (cluster.status(), cluster.greeting()) == ("deployed", "hello")

    engine.settings("dev", {"tiny:waits": True, "tiny:greeting": "changed"})
    cluster.kill_while("pending-upgrade", lambda: engine.start(*UP))
    said = unstuck(monkeypatch, capfd)
    assert "default/tiny: was pending-upgrade, is deployed" in said
    assert cluster.greeting() == "hello"
    engine.settings("dev", {"tiny:waits": False})
    engine.up("dev")
    assert (cluster.status(), cluster.greeting()) == ("deployed", "changed")

    resources = [r for r in engine.state("dev")["resources"] if r["custom"]]
    assert sorted(r["id"] for r in resources if r["type"].startswith("kubernetes:")) == [
        "default/first",
        "default/tiny",
    ]


def test_without_unstick_the_next_up_fails(engine: Engine, cluster: Cluster) -> None:
    engine.settings("dev", {"tiny:waits": True})
    cluster.kill_while("pending-install", lambda: engine.start(*UP))
    engine.settings("dev", {"tiny:waits": False})
    engine.run("cancel", "--yes", "dev")
    failed = engine.run(*UP, code=1)
    assert "cannot re-use a name that is still in use" in failed.stdout + failed.stderr


def test_a_rollback_and_an_uninstallation_that_were_cut_off_are_ended(cluster: Cluster) -> None:
    chart = str(TINY / "chart")
    cluster.helm_done("install", "tiny", chart, "--set", "greeting=first")
    cluster.helm_done("upgrade", "tiny", chart, "--set", "greeting=second,waits=true")
    cluster.helm_done("upgrade", "tiny", chart, "--set", "greeting=third")
    cluster.kill_while("pending-rollback", lambda: cluster.helm("rollback", "tiny", "2", "--wait"))
    assert repair(cluster)
    assert (cluster.status(), cluster.greeting()) == ("deployed", "third")

    held = cluster.server.merge(
        "/api/v1/namespaces/default/configmaps/tiny", {"metadata": {"finalizers": ["example.com/held"]}}
    )
    assert held.accepted, held.message
    cluster.kill_while("uninstalling", lambda: cluster.helm("uninstall", "tiny", "--wait"))
    cluster.server.merge("/api/v1/namespaces/default/configmaps/tiny", {"metadata": {"finalizers": None}})
    assert repair(cluster)
    assert cluster.status() == "gone"


def repair(cluster: Cluster) -> bool:
    found = cluster.release()
    assert found is not None
    return unstick.repair_releases([found], cluster.environment)
