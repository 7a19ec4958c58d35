"""The real programs that these tests are held against, and how a person gets each of them."""

import os
import shutil
from pathlib import Path

import pytest

HOW = {
    "pulumi": "https://www.pulumi.com/docs/install/, or build it from github.com/pulumi/pulumi",
    "pulumi-language-python": "it comes with pulumi",
    "pulumi-resource-kubernetes": "pulumi plugin install resource kubernetes, or build pulumi/pulumi-kubernetes",
    "kubectl": "gcloud components install kubectl, or https://kubernetes.io/docs/tasks/tools/",
    "helm": "https://helm.sh/docs/intro/install/, or go install helm.sh/helm/v3/cmd/helm@v3.22.0",
    "kubeconform": "go install github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0",
    "kwok": "https://kwok.sigs.k8s.io, or build its Go module sigs.k8s.io/kwok",
    "kube-apiserver": "KUBEBUILDER_ASSETS as setup-envtest prints it, or build k8s.io/kubernetes",
    "etcd": "Debian's etcd-server, or KUBEBUILDER_ASSETS",
    "kube-score": "go install github.com/zegl/kube-score/cmd/kube-score@latest",
    "checkov": "pip install checkov, in an environment of its own",
    "bandit": "pip install bandit, in an environment of its own",
    "pip-audit": "pip install pip-audit, in an environment of its own",
    "actionlint": "go install github.com/rhysd/actionlint/cmd/actionlint@latest",
    "shellcheck": "Debian's shellcheck, https://www.shellcheck.net",
}


def need(program: str) -> Path:
    """Find a program on PATH or in KUBEBUILDER_ASSETS, or skip and say how to get it."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    found = shutil.which(program, path=f"{assets}{os.pathsep}{os.environ['PATH']}" if assets else None)
    if found is None:
        pytest.skip(f"{program} is not on PATH: {HOW[program]}")
    return Path(found)


def definition_files() -> list[Path]:
    """The files of custom resource definitions below CRDS, which names folders and files separated as PATH does."""
    places = [Path(place) for place in os.environ.get("CRDS", "").split(os.pathsep) if place]
    return sorted(file for place in places for file in ([place] if place.is_file() else place.rglob("*.y*ml")))


def folder_named(variable: str, what: str) -> Path:
    """Take a folder from an environment variable, or skip and say what belongs into it."""
    named = os.environ.get(variable)
    if not named:
        pytest.skip(f"{variable}=DIR is not set: {what}")
    folder = Path(named)
    if not folder.is_dir():
        pytest.fail(f"{variable}={named} is not a folder")
    return folder
