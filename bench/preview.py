"""Times the offline preview against what it cannot be faster than, and says whether its promises hold.

Every side runs in processes of its own from a cold interpreter, in turns, so that a busy machine slows all alike;
figures are medians. Garbage collection is off on every Python side, at the end of the process too: left on, bare
imports take about twice as long. Peak memory is that of the largest process of a side.

`make bench`, or `.venv/bin/python -m bench.preview [--rounds N] [--stack STACK]`; the exit code is 1 if a promise is
broken.
"""

# ruff: noqa: S607 - pulumi is whatever PATH has

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import packages_distributions
from pathlib import Path

from bench.sides import ROOT, Side, measure, ratio, verdict
from preview.project import load_project, load_stack
from preview.request import Run
from preview.run import run_all

FURTHER_STACKS = 4
COMPARED = ("dev", "prod")
IGNORED = shutil.ignore_patterns(".venv", ".git", "__pycache__", ".*_cache", ".hypothesis", "tests", "bench")

BARE = """
import gc
gc.disable()
import importlib, json, sys
for name in json.load(open(sys.argv[1])):
    importlib.import_module(name).__dict__  # attribute access loads a module that is lazy
gc.freeze()
"""

PROGRAM = '''
"""Generated: {count} resources of the kinds that a platform has."""
import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes

network = gcp.compute.Network("network", auto_create_subnetworks=False)
cluster = gcp.container.Cluster("cluster", location="europe-west4", network=network.id, deletion_protection=True)
for number in range(({count} - 3) // 3):
    pool = gcp.container.NodePool(
        f"pool-{{number}}",
        cluster=cluster.name,
        node_config=gcp.container.NodePoolNodeConfigArgs(machine_type="a2-highgpu-1g", spot=True),
    )
    account = kubernetes.core.v1.ServiceAccount(f"account-{{number}}")
    kubernetes.apps.v1.Deployment(
        f"server-{{number}}",
        metadata=kubernetes.meta.v1.ObjectMetaArgs(name=f"server-{{number}}", namespace="models"),
        spec=kubernetes.apps.v1.DeploymentSpecArgs(
            replicas=1,
            selector=kubernetes.meta.v1.LabelSelectorArgs(match_labels={{"app": f"server-{{number}}"}}),
            template=kubernetes.core.v1.PodTemplateSpecArgs(
                metadata=kubernetes.meta.v1.ObjectMetaArgs(labels={{"app": f"server-{{number}}"}}),
                spec=kubernetes.core.v1.PodSpecArgs(
                    service_account_name=account.metadata.name,
                    node_selector={{"cloud.google.com/gke-nodepool": pool.name}},
                    containers=[
                        kubernetes.core.v1.ContainerArgs(
                            name="server",
                            image="registry.example/server:1",
                            ports=[kubernetes.core.v1.ContainerPortArgs(container_port=8080)],
                            resources=kubernetes.core.v1.ResourceRequirementsArgs(limits={{"nvidia.com/gpu": "1"}}),
                        )
                    ],
                ),
            ),
        ),
    )
'''


def bare(name: str, modules: Sequence[str], work: Path) -> Side:
    """A Python process that imports these modules and nothing else."""
    listed = work / f"{name}.json"
    listed.write_text(json.dumps(modules))
    return Side(name=name, command=[sys.executable, "-c", BARE, str(listed)])


def preview(name: str, folder: Path, *stacks: str) -> Side:
    """A preview as a person calls it, from a cold interpreter."""
    return Side(name=name, command=[sys.executable, "-m", "preview", *stacks, "--format", "json"], folder=folder)


def sdk_modules(folder: Path, stack: str) -> list[str]:
    """The modules of installed packages that a stack's program ends up with, in the order in which they were
    loaded.
    """
    project = load_project(folder)
    result = run_all([Run(project=project, config=load_stack(project, stack), list_modules=True)])[0]
    if isinstance(result, Exception):
        raise SystemExit(str(result))
    installed = packages_distributions()
    return [name for name in result.modules if name.partition(".")[0] in installed]


def several_stacks(folder: Path, stack: str) -> list[str]:
    """Copies of a stack under other names, beside it."""
    names = [f"copy-{number}" for number in range(FURTHER_STACKS)]
    for name in names:
        shutil.copy(folder / f"Pulumi.{stack}.yaml", folder / f"Pulumi.{name}.yaml")
    return names


def generated(folder: Path, count: int) -> Path:
    """A project whose program makes `count` resources."""
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("name: generated\nruntime: python\n")
    (folder / "Pulumi.dev.yaml").write_text("config: {}\n")
    (folder / "__main__.py").write_text(PROGRAM.format(count=count))
    return folder


def comparison(folder: Path, source: Path) -> Side:
    """Two revisions of dev and prod compared, with price, policies and Markdown, in one call."""
    shutil.copytree(source, folder, ignore=IGNORED)

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=bench", "-c", "user.email=bench"]
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)

    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "base")
    git("tag", "base")
    for stack in COMPARED:
        with (folder / f"Pulumi.{stack}.yaml").open("a", encoding="utf-8") as file:
            file.write("  llmserve:systemMaxNodes: 9\n")
    git("commit", "--quiet", "--all", "--message", "head")
    command = [sys.executable, "-m", "preview", *COMPARED, "--against", "base", "--format", "markdown"]
    return Side(name="two revisions", command=command, folder=folder)


def real_engine(folder: Path, stack: str, work: Path) -> Side | str:
    """The Pulumi CLI on the same stack with a backend in a temporary folder, or why there is none to compare
    with.
    """
    if shutil.which("pulumi") is None:
        return "there is no pulumi on PATH (https://www.pulumi.com/docs/install)"
    copy = work / "engine"
    shutil.copytree(folder, copy, ignore=IGNORED)
    (copy / ".venv").symlink_to(ROOT / ".venv")
    state = work / "state"
    state.mkdir()
    environment = {
        "PULUMI_BACKEND_URL": state.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "benchmark",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
    for arguments in (["stack", "init", stack], ["preview", "--stack", stack, "--json"]):
        tried = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=copy,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if tried.returncode:
            said = (tried.stderr or tried.stdout).strip().splitlines()[-1:]
            return f"`pulumi {' '.join(arguments)}` fails here: {' '.join(said)}"
    return Side(
        name="pulumi preview",
        command=["pulumi", "preview", "--stack", stack, "--json", "--non-interactive"],
        folder=copy,
        environment=environment,
    )


def main() -> None:
    """Measure all sides in one run and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--stack", default="prod")
    parser.add_argument("--project", type=Path, default=ROOT)
    options = parser.parse_args()
    stack = options.stack
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        copy = work / "project"
        shutil.copytree(options.project, copy, ignore=IGNORED)
        further = several_stacks(copy, stack)
        modules = sdk_modules(options.project.resolve(), stack)
        pulumi_modules = [name for name in modules if name.startswith("pulumi")]
        sides = [
            bare("bare", modules, work),
            bare("bare, Pulumi only", pulumi_modules, work),
            preview("preview", copy, stack),
            preview("stacks", copy, stack, *further),
            preview("50", generated(work / "small", 50), "dev"),
            preview("1000", generated(work / "large", 1000), "dev"),
            comparison(work / "compared", options.project),
        ]
        engine = real_engine(options.project, stack, work)
        if isinstance(engine, Side):
            sides.append(engine)
        measured = measure(sides, options.rounds)
    imports, ours, several = measured["bare"], measured["preview"], measured["stacks"]
    for side in sides:
        print(f"{side.name:18} {measured[side.name].seconds:6.2f} s  {measured[side.name].peak:5.0f} MB")
    only = measured["bare, Pulumi only"].seconds
    print(f"\nnote  to bare imports of Pulumi's packages alone: {ratio(ours.seconds / only)}")
    promises = [
        verdict(f"preview of {stack} to bare imports of its packages", ours.seconds / imports.seconds, 1.25, ratio),
        verdict("memory above bare imports", ours.peak - imports.peak, 30, lambda value: f"{value:.0f} MB"),
        verdict(
            f"each of {FURTHER_STACKS} further stacks to the first",
            (several.seconds - ours.seconds) / FURTHER_STACKS / ours.seconds,
            0.15,
            ratio,
        ),
        verdict(
            f"two revisions of {' and '.join(COMPARED)} to one preview of {stack}",
            measured["two revisions"].seconds / ours.seconds,
            2.0,
            ratio,
        ),
        verdict("1,000 resources to 50", measured["1000"].seconds / measured["50"].seconds, 2.5, ratio),
    ]
    if isinstance(engine, Side):
        promises.append(verdict("preview to pulumi preview", ours.seconds / measured[engine.name].seconds, 0.6, ratio))
    else:
        print(f"skip  preview to pulumi preview: {engine}")
    sys.exit(0 if all(promises) else 1)


if __name__ == "__main__":
    main()
