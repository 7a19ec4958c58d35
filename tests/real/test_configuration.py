"""Tier 1: configuration is read as the engine reads it, from random stack files."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from preview.errors import InvalidFile
from preview.project import StackConfig, load_project, load_stack
from tests.real.programs import need
from tests.real.stack_texts import StackTexts
from tests.test_preview_config import DEFAULTS, SCALARS

TIER = "configuration"

VALUES = 800
KEYS_IN_A_FILE = 40
REFUSED_FILES = 60
PROJECT = "name: shop\nruntime: python\n"
STRICTER = (
    "stands twice",
    "in brackets a `?`",
    "the tag goes on",
    "found unexpected ':'",
    "did not find expected tag URI",
    "found character that cannot start any token",
)
"""What we refuse and the engine may take, as preview/files.py tells."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """One project folder with a stack `dev`, read by the engine's command line and by the offline preview."""

    folder: Path
    program: Path
    environment: dict[str, str]

    def write(self, stack: str, project: str = PROJECT) -> None:
        (self.folder / "Pulumi.yaml").write_text(project, encoding="utf-8")
        (self.folder / "Pulumi.dev.yaml").write_bytes(stack.encode())

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *arguments, "--non-interactive"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def engine(self) -> dict[str, str | None] | None:
        """Configuration by full key, None for a secret; None for all where the engine refuses the files."""
        done = self.run("config", "--json", "--stack", "dev")
        return None if done.returncode else {key: value.get("value") for key, value in json.loads(done.stdout).items()}

    def ours(self) -> dict[str, str | None]:
        """The same as the offline preview has it. Raises InvalidFile where it refuses the files."""
        loaded: StackConfig = load_stack(load_project(self.folder), "dev")
        return {key: None if key in loaded.secret_keys else value for key, value in loaded.values.items()}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    folder = tmp_path_factory.mktemp("configuration")
    for name in ("project", "state"):
        (folder / name).mkdir()
    (folder / "project" / "__main__.py").touch()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PULUMI_")},
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
        "PULUMI_CONFIG_PASSPHRASE": "of no use",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    made = Reader(folder=folder / "project", program=need("pulumi"), environment=environment)
    made.write("config: {}\n")
    begun = made.run("stack", "init", "dev")
    assert begun.returncode == 0, begun.stderr
    return made


def stack_of(values: Sequence[str]) -> str:
    return "config:\n" + "".join(f"  shop:k{index}:{value}" for index, value in enumerate(values))


def test_random_stack_files_are_read_as_the_engine_reads_them(reader: Reader) -> None:
    taken, refused = [], []
    for value in StackTexts(seed=20261130).values(VALUES):
        reader.write(stack_of([value]))
        try:
            reader.ours()
            taken.append(value)
        except InvalidFile as error:
            if not any(reason in str(error) for reason in STRICTER):
                refused.append(value)
    assert len(taken) > VALUES / 2
    assert len(refused) >= REFUSED_FILES
    for start in range(0, len(taken), KEYS_IN_A_FILE):
        # Anchors would mean something else in another value; there are none.
        reader.write(stack_of(taken[start : start + KEYS_IN_A_FILE]))
        assert reader.engine() == reader.ours()
    for value in refused[:REFUSED_FILES]:
        reader.write(stack_of([value]))
        assert reader.engine() is None, f"the engine takes {value!r}"


def test_what_the_fast_tests_expect_is_what_the_engine_says(reader: Reader) -> None:
    lines = [
        f"  shop:top{index}: {written}\n  shop:nested{index}:\n    x: {written}\n"
        for index, (written, _, _) in enumerate(SCALARS)
    ]
    reader.write("config:\n" + "".join(lines))
    told = reader.engine()
    assert told == reader.ours()
    assert told == {
        key: text
        for index, (_, top, nested) in enumerate(SCALARS)
        for key, text in ((f"shop:top{index}", top), (f"shop:nested{index}", f'{{"x":{nested}}}'))
    }


def test_defaults_of_a_project_file_are_told_as_the_engine_tells_them(reader: Reader) -> None:
    # `pulumi config` cannot list a default that is a lone timestamp; a program gets it.
    shown = [(written, top, nested) for written, top, nested in DEFAULTS if "T" not in top]
    lines = [f"  top{index}: {{default: {written}}}\n" for index, (written, _, _) in enumerate(shown)]
    lines += [f"  nested{index}: {{default: [{written}]}}\n" for index, (written, _, _) in enumerate(DEFAULTS)]
    reader.write("config: {}\n", PROJECT + "config:\n" + "".join(lines))
    told = reader.engine()
    assert told == reader.ours()
    assert told == {f"shop:top{index}": top for index, (_, top, _) in enumerate(shown)} | {
        f"shop:nested{index}": f"[{nested}]" for index, (_, _, nested) in enumerate(DEFAULTS)
    }
