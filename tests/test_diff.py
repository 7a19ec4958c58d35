"""What a change does: pairs of revisions, each with its headline; and what holds for every pair."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

import versions
from preview import Secret, Snapshot
from preview.cli import run as run_preview
from preview.diff.compare import INVERSE, Change, Operation, Reason, StackChange, compare
from preview.diff.markdown import LIMIT, MARKER, markdown, without_secrets
from preview.diff.page import page
from preview.diff.price import PriceChange, price_change
from preview.diff.report import Report, StackReport, report
from preview.diff.rules import EVENTS, MADE_FOR, STAYS, UNORDERED, Around, rule_for, rules
from preview.diff.text import document
from preview.diff.values import MISSING, Difference, comparable, differences
from preview.policies import Judgement, Level, Verdict
from preview.snapshot import Resource
from preview.values import UNKNOWN
from tests.recording import ROOT, Record
from tests.stacks import is_accepted, recorded_all, stacks

LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "tests", "docs", "bench", "*.png")


@dataclass(frozen=True)
class Repository:
    """A git repository with this project in its first commit."""

    folder: Path

    def git(self, *arguments: str) -> str:
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(self.folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, change: Callable[[Path], None]) -> str:
        """Make a commit of a change on top of the first one, and return it."""
        self.git("checkout", "--quiet", "--detach", "base")
        change(self.folder)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "a change")
        return self.git("rev-parse", "HEAD")

    def report(self, *names: str, head: str, base: str = "base") -> Report:
        return report(self.folder, names, against=base, head=head, timeout=120)


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    folder = tmp_path_factory.mktemp("repository") / "llmserve"
    shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
    made = Repository(folder=folder)
    made.git("init", "--quiet")
    # A stack with a bucket, to lose it; and one whose token is in its file, encrypted.
    change_settings("prod", copy_to="stored", weightsFrom="bucket")(folder)
    change_settings("dev", copy_to="token", huggingFaceTokenFrom="config", huggingFaceToken={"secure": "v1:abc"})(
        folder
    )
    made.git("add", "--all")
    made.git("commit", "--quiet", "--message", "base")
    made.git("tag", "base")
    return made


# Changes, as a pull request would make them


def change_settings(stack: str, copy_to: str = "", **settings: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / f"Pulumi.{stack}.yaml"
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        for key, value in settings.items():
            content["config"][f"llmserve:{key}"] = value
        (folder / f"Pulumi.{copy_to or stack}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")

    return change


def change_text(path: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / path
        text = file.read_text(encoding="utf-8")
        assert old in text, f"{path} has no {old}"
        file.write_text(text.replace(old, new), encoding="utf-8")

    return change


def both(*changes: Callable[[Path], None]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for one in changes:
            one(folder)

    return change


def add_model(folder: Path) -> None:
    file = folder / "Pulumi.dev.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["config"]["llmserve:models"].append({**content["config"]["llmserve:models"][0], "name": "second"})
    file.write_text(yaml.safe_dump(content), encoding="utf-8")


def dearer_spot(folder: Path) -> None:
    file = folder / "catalog" / "prices.csv"
    text = file.read_text(encoding="utf-8")
    assert "a2-highgpu-1g,us-central1,USD an hour,3.673385,2.12081," in text
    file.write_text(text.replace("USD an hour,3.673385,2.12081,", "USD an hour,3.673385,2.5,"), encoding="utf-8")


def rename_firewall(alias: str = "") -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "components" / "network.py"
        text = file.read_text(encoding="utf-8")
        found = re.search(r'f"\{name\}-webhooks",(.*?)opts=([^\n]*),\n        \)', text, re.DOTALL)
        assert found is not None
        options = found[2]
        if alias:
            options = f"pulumi.ResourceOptions.merge({options}, pulumi.ResourceOptions(aliases=[{alias}]))"
        new = f'f"{{name}}-hooks",{found[1]}opts={options},\n        )'
        file.write_text(text.replace(found[0], new), encoding="utf-8")

    return change


BUMPED_CHART = change_text("versions.py", f'"{versions.KEDA.version}"', '"99.0.0"')
ALIAS = 'pulumi.Alias(name=f"{name}-webhooks")'


@dataclass(frozen=True)
class Pair:
    """A change, a stack, and what its headline says: delete, replace, create, update, rename, and of the price."""

    stack: str
    change: Callable[[Path], None]
    counts: tuple[int, int, int, int, int]
    price: str = "the same"


PAIRS: dict[str, Pair] = {
    "nothing but a document": Pair("dev", change_text("README.md", "# llmserve", "# LLMserve"), (0, 0, 0, 0, 0)),
    "add a model": Pair("dev", add_model, (0, 0, 9, 3, 0), "+473"),
    "toggle the capacity": Pair("dev", change_settings("dev", capacity="on-demand"), (0, 0, 0, 2, 0), "+320"),
    "change a field that replaces the cluster": Pair(
        "dev", change_settings("dev", controlPlaneRange="10.91.0.0/28"), (0, 5, 0, 3, 0)
    ),
    "the same with a new generation": Pair(
        "dev", change_settings("dev", controlPlaneRange="10.91.0.0/28", clusterGeneration=2), (0, 40, 0, 1, 0)
    ),
    "rename with an alias": Pair("dev", rename_firewall(ALIAS), (0, 0, 0, 0, 1)),
    "rename without an alias": Pair("dev", rename_firewall(), (1, 0, 1, 0, 0)),
    "delete the bucket": Pair("stored", change_settings("stored", weightsFrom="hub"), (11, 0, 0, 4, 0), "+"),
    "edit a dashboard": Pair(
        "dev", change_text("monitoring/dashboard.py", "Requests a second", "Requests each second"), (0, 0, 0, 1, 0)
    ),
    "bump a chart": Pair("dev", BUMPED_CHART, (0, 0, 0, 1, 0)),
    "another host and minor of Istio's charts": Pair(
        "dev",
        both(
            change_text("versions.py", "https://blob.istio.io/istio-release/charts", "https://charts.example"),
            change_text("versions.py", f'"{versions.ISTIOD.version}"', '"1.99.0"'),
        ),
        (0, 0, 0, 3, 0),
    ),
    "change a secret": Pair("token", change_settings("token", huggingFaceToken={"secure": "v1:def"}), (0, 0, 0, 1, 0)),
    "take protection away": Pair("prod", change_settings("prod", deletionProtection=False), (0, 0, 0, 2, 0)),
    "a new price": Pair("dev", dearer_spot, (0, 0, 0, 1, 0), "+79"),
    "other hours of use": Pair("dev", change_settings("dev", usage={"hoursADay": 4}), (0, 0, 0, 1, 0), "-"),
}


def headline(made: Report, stack: str) -> str:
    [row] = [line for line in markdown(made).splitlines() if line.startswith(f"| `{stack}` |")]
    return row


@pytest.mark.parametrize("name", PAIRS)
def test_the_headline_of_a_pair(repository: Repository, name: str) -> None:
    pair = PAIRS[name]
    made = repository.report(pair.stack, head=repository.commit(pair.change))
    row = headline(made, pair.stack)
    counts = tuple(int(cell.strip(" *")) for cell in row.split("|")[2:7])
    assert counts == pair.counts, "\n".join(
        f"{one.operation} {one.type} {one.name} {[reason.path for reason in one.reasons]}"
        for stack in made.stacks
        if stack.change
        for one in stack.change.changes
    )
    assert pair.price in row


def test_what_each_pair_says_beside_its_headline(repository: Repository) -> None:
    def told(name: str) -> str:
        return markdown(repository.report(PAIRS[name].stack, head=repository.commit(PAIRS[name].change)))

    assert "Raise clusterGeneration with it" in told("change a field that replaces the cluster")
    assert "clusterGeneration" not in told("the same with a new generation").partition("<details>")[0]
    assert "was `network-webhooks`" in told("rename with an alias")
    assert 'pulumi.Alias\\(name="network-webhooks"\\)' in told("rename without an alias")
    assert "**data goes with it**" in told("delete the bucket")
    assert "v1:" not in told("change a secret")
    assert "another secret" in told("change a secret")
    assert "by price +79" in told("a new price")
    # Fewer hours of use are also fewer of a third machine on the NAT.
    assert re.search(r"by price \+0.00, by quantity -0.\d\d, by use -\d\d\d", told("other hours of use"))


def test_a_program_that_breaks_is_told_and_fails_the_call(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    head = repository.commit(
        change_text("components/network.py", "super().__init__(", "1 / 0\n        super().__init__(")
    )
    arguments = ["dev", "--project", str(repository.folder), "--against", "base", "--head", head]
    assert run_preview([*arguments, "--format", "markdown"]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith(MARKER)
    assert "ZeroDivisionError" in shown
    assert "components/network.py:" in shown
    assert str(repository.folder) not in shown


def test_a_stack_that_is_refused_fails_the_call_as_a_refusal(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    head = repository.commit(change_settings("dev", capacity="cheap"))
    arguments = ["dev", "--project", str(repository.folder), "--against", "base", "--head", head]
    assert run_preview([*arguments, "--format", "markdown"]) == 2
    shown = capsys.readouterr().out
    assert "llmserve:capacity = " in shown
    assert "is not one of the allowed values" in shown


def test_a_new_stack_is_all_new_and_one_whose_file_is_gone_stays_and_saves_nothing(repository: Repository) -> None:
    head = repository.commit(change_settings("dev", copy_to="other"))
    [new] = repository.report("other", head=head).stacks
    assert new.change is not None
    assert new.change.counts[Operation.CREATE] > 40
    assert new.notes == ("this stack is new",)
    assert new.price is not None
    assert new.price.before == 0
    head = repository.commit(lambda folder: (folder / "Pulumi.dev.yaml").unlink())
    [gone] = repository.report("dev", head=head).stacks
    assert gone.change is not None
    assert gone.change.is_empty
    assert gone.change.unchanged == new.change.counts[Operation.CREATE]
    assert gone.price is not None
    assert gone.price.difference == 0
    assert "what it made stays" in gone.notes[0]
    whole = repository.report("dev", head=head)
    assert whole.fails_on(["delete", "replace"]) == ()
    assert "`dev` (its file is gone: all of it stays) | 0 | 0 |" in markdown(whole)


def test_a_setting_of_the_call_is_the_later_revisions_alone(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["dev", "--project", str(repository.folder), "--against", "base", "--head", "base"]
    assert run_preview([*arguments, "-c", "capacity=on-demand"]) == 0
    assert "configuration: llmserve:capacity: spot -> on-demand" in capsys.readouterr().out


def test_other_requirements_are_said(repository: Repository) -> None:
    head = repository.commit(change_text("requirements.txt", "pyyaml==", "pyyaml>="))
    [note] = repository.report("dev", head=head).notes
    assert "requirements.txt differs (- pyyaml==" in note


def test_the_base_is_where_the_branches_parted(repository: Repository) -> None:
    """What main got meanwhile is not the pull request's doing."""
    head = repository.commit(change_settings("dev", capacity="on-demand"))
    main = repository.commit(change_settings("dev", systemMaxNodes=9))
    [one] = repository.report("dev", head=head, base=main).stacks
    assert one.change is not None
    assert "systemMaxNodes" not in str(one.change.config)


def test_each_revision_runs_with_its_own_code_settings_and_prices(repository: Repository) -> None:
    head = repository.commit(both(dearer_spot, BUMPED_CHART))
    [one] = repository.report("dev", head=head).stacks
    [other] = repository.report("dev", head="base", base="base").stacks
    assert one.price is not None
    assert other.price is not None
    assert one.price.before == other.price.after


def test_the_same_revisions_give_the_same_bytes(repository: Repository) -> None:
    head = repository.commit(both(add_model, dearer_spot))
    made = [repository.report("dev", "prod", head=head) for _ in range(2)]
    assert markdown(made[0]) == markdown(made[1])
    assert page(made[0]) == page(made[1])
    assert json.dumps(document(made[0])) == json.dumps(document(made[1]))


def test_the_parent_loads_no_module_of_the_project(repository: Repository) -> None:
    head = repository.commit(add_model)
    program = (
        "import sys\n"
        "from preview.cli import run\n"
        f"code = run(['dev', '--project', {str(repository.folder)!r}, '--against', 'base', '--head', {head!r}])\n"
        "own = {'settings', 'versions', 'planning', 'components', 'monitoring', 'catalog', 'cost_stack', 'policy'}\n"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] in own), code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "[] 0", done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--against", "base", "--fail-on", "delete"], 0, ""),
        (["--against", "base", "--fail-on", "replace,delete"], 3, "to replace"),
        (["--against", "base", "--fail-on", "everything"], 2, "everything is none of"),
        (["--against", "no-such"], 2, "no-such is no commit"),
        (["--against", "--output=x"], 2, ""),
        (["--against", "base", "--uncommitted", "--head", "base"], 2, "take one of them out"),
        (["--against", "base", "--cost"], 2, "--cost is not for --against"),
        (["--fail-on", "delete"], 2, "are for --against"),
        (["--against", "base", "--real", "no-such.json"], 2, "--real no-such.json: No such file"),
        (["--against", "base", "--real", "Makefile"], 2, "is no JSON"),
    ],
)
def test_the_arguments_of_a_comparison(
    repository: Repository, arguments: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    head = repository.commit(change_settings("dev", controlPlaneRange="10.91.0.0/28"))
    given_head = [] if "--uncommitted" in arguments or "--against" not in arguments else ["--head", head]
    try:
        done = run_preview(["dev", "--project", str(repository.folder), *arguments, *given_head])
    except SystemExit as ending:
        done = int(str(ending.code))
    shown = capsys.readouterr()
    assert done == code
    assert told in shown.out + shown.err


# What holds for every pair of recordings


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_a_stack_does_not_differ_from_itself(record: Record, stack: str) -> None:
    assert compare(record(stack), record(stack), stack=stack).is_empty


def plainly(found: StackChange, *, inverse: bool = False) -> set[tuple[Any, ...]]:
    """Give each change that has fields. Replaced counts as updated: it need not be one the other way."""
    return {
        (
            Operation.UPDATE
            if one.operation is Operation.REPLACE
            else INVERSE[one.operation]
            if inverse
            else one.operation,
            one.urn,
            tuple(sorted(str(field.inverse if inverse else field) for field in one.fields)),
        )
        for one in found.changes
        # What is made anew because of something else has no field of its own, and the cause may be in one way only.
        if one.fields
    }


@tries(max_examples=2, deadline=None)
@given(st.lists(stacks(careful=True).filter(is_accepted), min_size=6, max_size=6))
def test_a_difference_is_the_inverse_of_the_one_the_other_way(several: list[Any]) -> None:
    programs = recorded_all(several)
    for before, after in zip(programs[::2], programs[1::2], strict=True):
        there, back = compare(before, after, stack="any"), compare(after, before, stack="any")
        assert plainly(there, inverse=True) == plainly(back)
        for way, other in ((Operation.CREATE, Operation.DELETE), (Operation.DELETE, Operation.CREATE)):
            assert {one.urn for one in there.of(way)} == {one.urn for one in back.of(other)}
        assert compare(before, before, stack="any").is_empty
        touched = {one.urn for one in there.changes}
        made = {one.urn for one in there.of(Operation.CREATE)}
        gone = {one.urn for one in there.of(Operation.DELETE)}
        every = {resource.urn for resource in after.resources}
        assert there.unchanged == len(every - (touched - gone))
        assert made <= every


# Values


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["name", "a", "b", "key"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(VALUES)
def test_nothing_differs_from_itself(value: Any) -> None:
    assert not list(differences(comparable(value), comparable(value)))


@given(VALUES, VALUES)
def test_whatever_differs_is_found_both_ways(before: Any, after: Any) -> None:
    old, new = comparable(before), comparable(after)
    there, back = list(differences(old, new)), list(differences(new, old))
    assert bool(there) is (json.dumps(old, sort_keys=True) != json.dumps(new, sort_keys=True)) or _is_reordered(
        old, new
    )
    assert len(there) == len(back) or bool(there) is bool(back)


def _is_reordered(before: Any, after: Any) -> bool:
    """Lists whose items have names are the same in any order, and a text may hold JSON."""
    return "name" in str(before) + str(after) or "key" in str(before) + str(after) or "{" in str(before) + str(after)


def paths(before: Any, after: Any) -> dict[str, tuple[Any, Any]]:
    return {found.path: (found.before, found.after) for found in differences(comparable(before), comparable(after))}


def test_items_are_matched_by_what_names_them() -> None:
    before = {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}
    after = {"containers": [{"name": "b", "image": "2"}, {"name": "a", "image": "1"}]}
    assert paths(before, after) == {"containers[b].image": ("1", "2"), "containers[order]": (["a", "b"], ["b", "a"])}
    assert paths({"args": ["--a", "--b"]}, {"args": ["--a", "--c", "--b"]}) == {"args[1]": (MISSING, "--c")}


def test_numbers_are_compared_by_value_and_truth_is_no_number() -> None:
    assert not paths({"replicas": 1.0}, {"replicas": 1})
    assert paths({"spot": True}, {"spot": 1}) == {"spot": (True, 1)}


def test_texts_that_hold_json_are_compared_inside() -> None:
    assert paths({"x.json": '{"a": {"b": 1}}'}, {"x.json": '{"a": {"b": 2}}'}) == {'["x.json"].a.b': (1, 2)}


def test_secrets_are_compared_and_never_shown() -> None:
    found = list(differences(comparable({"p": Secret("one")}), comparable({"p": Secret("two")})))
    assert len(found) == 1
    assert "one" not in repr(found)
    assert not paths({"p": Secret("one")}, {"p": Secret("one")})


def test_what_is_not_known_yet_does_not_differ_from_itself() -> None:
    assert not paths({"id": UNKNOWN}, {"id": UNKNOWN})
    assert paths({"id": UNKNOWN}, {"id": "x"}) == {"id": (UNKNOWN, "x")}


# Resources


def resource(name: str, token: str = "gcp:a/b:C", parent: str = "", **more: Any) -> Resource:  # noqa: S107 - a type
    chain = "" if not parent else f"{parent.split('::')[2]}$"
    urn = f"urn:pulumi:s::p::{chain}{token}::{name}"
    return Resource(urn=urn, type=token, name=name, custom=True, parent=parent, **more)


def snapshot(*resources: Resource) -> Snapshot:
    return Snapshot(
        project="p", stack="s", preview=True, config={}, secret_keys=frozenset(), resources=resources, outputs={}
    )


def test_a_renamed_parent_hands_its_alias_on_to_its_children() -> None:
    old = resource("old", "llm:index:Component")
    new = resource("new", "llm:index:Component", options={"aliases": [{"name": "old"}]})
    child = resource("old-child", parent=old.urn, inputs={"a": 1})
    moved = resource("new-child", parent=new.urn, inputs={"a": 1})
    found = compare(snapshot(old, child), snapshot(new, moved), stack="s")
    assert [(one.operation, one.name, one.old_urn.rpartition("::")[2]) for one in found.changes] == [
        (Operation.RENAME, "new-child", "old-child"),
        (Operation.RENAME, "new", "old"),
    ]


def test_a_name_that_the_provider_chooses_is_no_difference_after_a_rename() -> None:
    old = resource("old", inputs={"name": "old-0123abc"})
    new = resource("new", inputs={"name": "new-fedcba9"}, options={"aliases": [{"name": "old"}]})
    user = resource("user", inputs={"target": "old-0123abc"})
    same = resource("user", inputs={"target": "new-fedcba9"})
    found = compare(snapshot(old, user), snapshot(new, same), stack="s")
    assert [(one.operation, one.name) for one in found.changes] == [(Operation.RENAME, "new")]


def test_what_the_engine_ignores_is_no_difference() -> None:
    before = resource("a", inputs={"spec": {"replicas": 1, "x": 1}})
    after = resource("a", inputs={"spec": {"replicas": 2, "x": 1}}, options={"ignoreChanges": ["spec.replicas"]})
    assert compare(snapshot(before), snapshot(after), stack="s").counts[Operation.UPDATE] == 1  # the option is new
    kept = resource("a", inputs={"spec": {"replicas": 1, "x": 1}}, options={"ignoreChanges": ["spec.replicas"]})
    assert compare(snapshot(kept), snapshot(after), stack="s").is_empty


def operations(before: Snapshot, after: Snapshot) -> dict[str, str]:
    return {one.name: str(one.operation) for one in compare(before, after, stack="s").changes}


PROVIDER = "pulumi:providers:kubernetes"


def test_what_gets_another_provider_is_made_anew_where_that_is_another_place() -> None:
    def stack(name: str, cluster: str) -> Snapshot:
        provider = resource(name, PROVIDER, inputs={"clusterIdentifier": cluster})
        return snapshot(provider, resource("n", "kubernetes:core/v1:Namespace", provider=f"{provider.urn}::1"))

    assert operations(stack("a", "x"), stack("b", "y")) == {"a": "delete", "b": "create", "n": "replace"}
    assert operations(stack("a", "x"), stack("b", "x")) == {"a": "delete", "b": "create"}


def test_a_set_has_no_order_and_a_list_has() -> None:
    def pool(*scopes: str) -> Snapshot:
        return snapshot(resource("p", POOL, inputs={"nodeConfig": {"oauthScopes": list(scopes)}}))

    assert operations(pool("a", "b"), pool("b", "a")) == {}
    assert operations(pool("a", "b"), pool("a", "c")) == {"p": "replace"}
    job = [
        snapshot(
            resource(
                "j",
                "kubernetes:batch/v1:Job",
                inputs={"spec": {"template": {"spec": {"containers": [{"name": name} for name in names]}}}},
            )
        )
        for names in ("ab", "ba")
    ]
    assert operations(*job) == {"j": "replace"}


def test_a_text_that_is_only_written_another_way_is_another_text() -> None:
    assert paths({"data": '{"a":1}'}, {"data": '{ "a": 1 }'}) == {"data": ('{"a":1}', '{ "a": 1 }')}


def test_what_is_only_read_is_neither_deleted_nor_replaced() -> None:
    token = "gcp:container/cluster:Cluster"  # noqa: S105 - a type
    own, read = resource("c", token, inputs={"name": "c"}), resource("c", token, operation="read")
    assert operations(snapshot(read), snapshot()) == {}
    assert operations(snapshot(own), snapshot(read)) == {}
    assert operations(snapshot(read), snapshot(own)) == {"c": "create"}


def test_options_that_ask_for_a_replacement_are_heard() -> None:
    password = "random:index/randomPassword:RandomPassword"  # noqa: S105 - a type
    old, new = (resource("p", password, inputs={"length": length}) for length in (8, 9))

    def beside(**options: Any) -> Resource:
        return resource("b", inputs={"labels": {"x": UNKNOWN}}, awaits={"labels.x": (old.urn,)}, options=options)

    for options in ({"replaceOnChanges": ["labels"]}, {"replaceOnChanges": ["*"]}, {"deletedWith": old.urn}):
        stacks = snapshot(old, beside(**options)), snapshot(new, beside(**options))
        assert operations(*stacks) == {"p": "replace", "b": "replace"}, options
    assert operations(snapshot(old, beside()), snapshot(new, beside())) == {"p": "replace", "b": "update"}
    triggered = [snapshot(beside(replacementTrigger=value)) for value in ("1", "2")]
    assert operations(*triggered) == {"b": "replace"}


@pytest.mark.parametrize(
    "ignored", ["spec.containers[0].image", "spec.containers[*].image", "spec", 'spec["containers"]']
)
def test_what_is_ignored_keeps_its_old_value(ignored: str) -> None:
    pods = [
        resource(
            "p",
            "kubernetes:core/v1:Pod",
            inputs={"spec": {"containers": [{"name": "a", "image": image}]}},
            options={"ignoreChanges": [ignored]},
        )
        for image in ("1", "2")
    ]
    assert operations(*map(snapshot, pods)) == {}


def test_what_is_replaced_for_a_reason_of_its_own_may_go_before_something_else_as_well() -> None:
    """The account is deleted first, the subnet takes from it, and the pool from the subnet: all three go."""
    account, subnet, pool = "gcp:serviceaccount/account:Account", "gcp:compute/subnetwork:Subnetwork", POOL
    stacks = []
    for number in ("1", "2"):
        first = resource("a", account, inputs={"accountId": f"a{number}"})
        second = resource(
            "b",
            subnet,
            inputs={"name": "b-1234567", "network": number, "description": UNKNOWN},
            awaits={"description": (first.urn,)},
            property_dependencies={"description": (first.urn,)},
        )
        third = resource(
            "c",
            pool,
            inputs={"nodeConfig": {"resourceLabels": {"x": "known"}}},
            property_dependencies={"nodeConfig": (second.urn,)},
        )
        stacks.append(snapshot(first, second, third))
    assert operations(*stacks) == {"a": "replace", "b": "replace", "c": "replace"}


def notes(found: StackChange) -> list[str]:
    return [note for one in found.changes for note in one.notes]


def test_an_alias_is_named_only_where_it_would_keep_the_resource() -> None:
    address = "gcp:compute/address:Address"
    same = {str(number): "x" for number in range(20)}
    old = resource("old", address, inputs={**same, "addressType": "INTERNAL"})
    new = resource("new", address, inputs={**same, "addressType": "INTERNAL"})
    assert any(
        'aliases=[pulumi.Alias(name="old")]' in note for note in notes(compare(snapshot(old), snapshot(new), stack="s"))
    )
    # Another field would make it anew all the same.
    other = resource("new", address, inputs={**same, "addressType": "EXTERNAL"})
    [note] = notes(compare(snapshot(old), snapshot(other), stack="s"))
    assert note == "nearly the same as old; an alias would not keep that one: addressType is another"


def test_what_the_stack_file_names_is_told_no_alias() -> None:
    """A model that gets another name there is another model: whoever writes the file cannot give an alias."""
    same = {str(number): "x" for number in range(20)}
    before, after = snapshot(resource("small-stable", inputs=same)), snapshot(resource("large-stable", inputs=same))
    named = [
        replace(one, config={"llmserve:models": f'[{{"name":"{name}"}}]'})
        for one, name in ((before, "small"), (after, "large"))
    ]
    [note] = notes(compare(*named, stack="s"))
    assert note == "nearly the same as small-stable: the stack file says large in place of small"


def test_a_replacement_takes_along_what_cannot_change_its_field_and_names_what_needs_it() -> None:
    token, pool = "gcp:container/cluster:Cluster", "gcp:container/nodePool:NodePool"
    old, new = (resource("c", token, inputs={"location": place}) for place in ("a", "b"))
    nodes = resource(
        "n",
        pool,
        inputs={"cluster": UNKNOWN},
        dependencies=(old.urn,),
        property_dependencies={"cluster": (old.urn,)},
        awaits={"cluster": (old.urn,)},
    )
    other = resource("o", inputs={"x": UNKNOWN}, dependencies=(nodes.urn,), property_dependencies={"x": (nodes.urn,)})
    found = compare(snapshot(old, nodes, other), snapshot(new, nodes, other), stack="s")
    assert {one.name: (one.operation, [reason.path for reason in one.reasons]) for one in found.changes} == {
        "c": (Operation.REPLACE, ["location"]),
        "n": (Operation.REPLACE, ["cluster"]),
    }
    assert {one.name: len(one.dependents) for one in found.changes} == {"c": 2, "n": 1}
    assert found.notes


def test_the_rules_are_those_of_named_revisions_and_of_the_providers_that_are_installed() -> None:
    """Another version of a provider may replace by another field: `python -m scripts.replace_rules` makes the table."""
    required = dict(line.split("==") for line in (ROOT / "requirements.txt").read_text().split() if "==" in line)
    assert {name: required[name] for name in MADE_FOR} == MADE_FOR
    for rule in rules():
        assert re.search(r"@(?:[0-9a-f]{8}|v[0-9.]+) \S+\.go\b|^pulumi_gcp 10.2.0", rule.told_by), rule
        assert "_" not in rule.path
        assert set(rule.on.split()) <= {*EVENTS, STAYS, UNORDERED}
    assert len({(rule.type, rule.path) for rule in rules()}) == len(rules())


CLUSTER, POOL, REPOSITORY = (
    "gcp:container/cluster:Cluster",
    "gcp:container/nodePool:NodePool",
    "gcp:artifactregistry/repository:Repository",
)
BUCKET, SUBNET, MAP = "gcp:storage/bucket:Bucket", "gcp:compute/subnetwork:Subnetwork", "kubernetes:core/v1:ConfigMap"
KUBERNETES, PASSWORD = "pulumi:providers:kubernetes", "random:index/randomPassword:RandomPassword"


def around(
    provider: Mapping[str, Any] | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> Around:
    return Around(provider=provider or {}, before=before or {}, after=after or {})


@pytest.mark.parametrize(
    ("token", "path", "before", "after", "beside", "replaces"),
    [
        (POOL, "nodeConfig.spot", False, True, around(), True),
        (POOL, "nodeConfig.machineType", "a", "b", around(), False),
        (POOL, "nodeConfig.guestAccelerators[0].count", 1, 2, around(), True),
        (POOL, "nodeConfig.guestAccelerators[1]", MISSING, {"type": "a", "count": 1}, around(), True),
        (POOL, "nodeConfig", MISSING, {"spot": True}, around(), True),
        (POOL, "nodeConfig.serviceAccount", "a", UNKNOWN, around(), True),
        # Google's own account stands in: the field is computed as well.
        (POOL, "nodeConfig.serviceAccount", "a", MISSING, around(), False),
        (POOL, "nodeConfig.metadata.x", "a", "b", around(), True),
        (POOL, "autoscaling.totalMaxNodeCount", 1, 2, around(), False),
        (POOL, "placementPolicy.tpuTopology", "2x2", "2x4", around(), False),
        (POOL, "placementPolicy.policyName", "a", "b", around(), True),
        (CLUSTER, "enableL4IlbSubsetting", True, False, around(), True),
        (CLUSTER, "enableL4IlbSubsetting", False, True, around(), False),
        (CLUSTER, "enableL4IlbSubsetting", True, MISSING, around(), False),
        (CLUSTER, "enableFqdnNetworkPolicy", True, False, around(), True),
        (CLUSTER, "enableFqdnNetworkPolicy", True, MISSING, around(), True),
        (CLUSTER, "enableFqdnNetworkPolicy", MISSING, True, around(), False),
        (CLUSTER, "enableK8sBetaApis.enabledApis[0]", "a", MISSING, around(), True),
        (CLUSTER, "enableK8sBetaApis.enabledApis[1]", MISSING, "b", around(), False),
        (CLUSTER, "enableK8sBetaApis", {"enabledApis": ["a"]}, MISSING, around(), True),
        (CLUSTER, "dnsConfig.additiveVpcScopeDnsDomain", "a", "b", around(), False),
        (CLUSTER, "dnsConfig.additiveVpcScopeDnsDomain", "a", "b", around(after={"enableAutopilot": True}), True),
        (CLUSTER, "ipAllocationPolicy.stackType", "IPV4", "IPV4_IPV6", around(), False),
        (CLUSTER, "ipAllocationPolicy.additionalPodRangesConfig.podRangeNames[0]", MISSING, "a", around(), False),
        (CLUSTER, "ipAllocationPolicy.networkTierConfig.networkTier", "a", "b", around(), False),
        (CLUSTER, "ipAllocationPolicy.additionalIpRangesConfigs[0]", MISSING, {"subnetwork": "a"}, around(), False),
        (CLUSTER, "ipAllocationPolicy.autoIpamConfig.enabled", False, True, around(), False),
        (CLUSTER, "ipAllocationPolicy.clusterSecondaryRangeName", "a", "b", around(), True),
        (POOL, "initialNodeCount", 1, "1", around(), False),
        (POOL, "initialNodeCount", 1, 2, around(), True),
        (BUCKET, "location", "US", "us", around(), False),
        (BUCKET, "location", "US", "EU", around(), True),
        (BUCKET, "retentionPolicy.isLocked", True, False, around(), True),
        (BUCKET, "retentionPolicy.isLocked", False, True, around(), False),
        (BUCKET, "retentionPolicy", {"isLocked": True, "retentionPeriod": "9"}, MISSING, around(), True),
        (BUCKET, "retentionPolicy", {"isLocked": False, "retentionPeriod": "9"}, MISSING, around(), False),
        (REPOSITORY, "remoteRepositoryConfig.disableUpstreamValidation", False, True, around(), False),
        (REPOSITORY, "remoteRepositoryConfig.upstreamCredentials", MISSING, {"x": {}}, around(), False),
        (REPOSITORY, "remoteRepositoryConfig.dockerRepository.publicRepository", "a", "b", around(), True),
        (SUBNET, "ipCidrRange", "10.0.0.0/20", "10.0.0.0/16", around(), False),
        (SUBNET, "ipCidrRange", "10.0.0.0/20", "10.0.0.0/24", around(), True),
        (SUBNET, "network", "a", UNKNOWN, around(), True),
        # A network of another project that is called the same is another one; a link or a name is the same one.
        (CLUSTER, "network", "projects/p/global/networks/v", "projects/q/global/networks/v", around(), True),
        (CLUSTER, "network", "https://x/projects/p/global/networks/v", "projects/p/global/networks/v", around(), False),
        (CLUSTER, "network", "projects/p/global/networks/v", "v", around(), False),
        (CLUSTER, "nodePools[order]", ["a", "b"], ["b", "a"], around(), True),
        ("gcp:compute/firewall:Firewall", "network", "a", UNKNOWN, around(), False),
        ("gcp:projects/iAMMember:IAMMember", "role", "a", "b", around(), True),
        ("gcp:somebody/newIamMember:NewIamMember", "member", "a", "b", around(), True),
        (PASSWORD, "length", 32, 40, around(), True),
        (PASSWORD, "keepers.x", "a", "b", around(), True),
        (PASSWORD, "keepers", MISSING, {}, around(), False),
        ("kubernetes:apps/v1:Deployment", "spec.selector.matchLabels.app", "a", "b", around(), True),
        ("kubernetes:apps/v1:Deployment", "spec.template.spec.containers[x].image", "a", "b", around(), False),
        ("kubernetes:core/v1:Secret", "type", "Opaque", "kubernetes.io/tls", around(), True),
        (MAP, 'data["a.json"].b', 1, 2, around(), True),
        (MAP, 'data["a.json"].b', 1, 2, around({"enableConfigMapMutable": "true"}), False),
        (MAP, "data.a", 1, 2, around({"enableConfigMapMutable": "true"}, after={"immutable": True}), True),
        ("kubernetes:keda.sh/v1alpha1:ScaledObject", "metadata.namespace", "a", "b", around(), True),
        ("kubernetes:keda.sh/v1alpha1:ScaledObject", "metadata.namespace", "default", MISSING, around(), False),
        (KUBERNETES, "clusterIdentifier", "a", "b", around(), True),
        (KUBERNETES, "clusterIdentifier", MISSING, "b", around(), False),
        (KUBERNETES, "kubeconfig", "a", UNKNOWN, around(), True),
        (
            KUBERNETES,
            "kubeconfig",
            "a",
            UNKNOWN,
            around(before={"clusterIdentifier": "a"}, after={"clusterIdentifier": "a"}),
            False,
        ),
    ],
)
def test_a_rule_holds_where_the_provider_says_so(
    token: str, path: str, before: Any, after: Any, beside: Around, *, replaces: bool
) -> None:
    """As the providers' own plans answer: see docs/real-things.md."""
    assert bool(rule_for(token, path, before=before, after=after, around=beside)) is replaces


def test_every_field_that_the_rules_name_is_one_of_the_sdk() -> None:
    """A misspelt rule would never hold: its first part has to be an input of the resource in the SDK."""
    import pulumi_gcp  # noqa: F401, PLC0415 - it takes a second, and says where each type is

    from preview.placeholders import inputs_of  # noqa: PLC0415

    for rule in rules():
        if rule.type.startswith("gcp:") and "*" not in rule.type:
            first = rule.path.partition(".")[0]
            assert first in inputs_of(rule.type), rule


# Charts


HELM = """#!/bin/sh
while [ $# -gt 0 ]; do [ "$1" = --values ] && values=$2; shift; done
echo 'kind: Deployment'
echo 'metadata: {name: operator}'
echo 'spec:'
sed -n 's/^ *replicaCount:/  replicaCount:/p' "$values" | head -1
"""


def test_what_a_changed_release_makes_of_its_chart(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for helm writes one value down as an object; the real one is in tests/real."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "helm").write_text(HELM, encoding="utf-8")
    (tmp_path / "bin" / "helm").chmod(0o755)
    charts = tmp_path / "charts"
    charts.mkdir()
    head = repository.commit(change_text("components/autoscaling.py", '"replicaCount": 2', '"replicaCount": 3'))

    def rendered(**environment: str) -> Any:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        [one] = report(repository.folder, ["dev"], against="base", head=head, charts=charts, timeout=120).stacks
        [found] = one.rendered.values()
        return found

    assert rendered(PATH="/usr/bin:/bin").why_not == "helm is not on PATH"
    path = f"{tmp_path / 'bin'}:/usr/bin:/bin"
    assert re.fullmatch(r"there is no keda-[0-9.]+\.tgz", rendered(PATH=path).why_not)
    (charts / "keda").mkdir()
    number = re.findall(r"[0-9.]+[0-9]", rendered(PATH=path).why_not)[0]
    (charts / "keda" / "Chart.yaml").write_text(f"version: {number}\n", encoding="utf-8")
    fields = {found.path: (found.before, found.after) for found in rendered(PATH=path).fields}
    assert fields == {"Deployment/operator.spec.replicaCount": (2, 3)}


# A real preview beside it


def a_step(urn: str, operation: str, **more: Any) -> dict[str, Any]:
    return {"op": operation, "urn": urn, "newState": {"urn": urn, "custom": True}, **more}


def test_a_prediction_is_held_beside_the_real_preview(repository: Repository, tmp_path: Path) -> None:
    head = repository.commit(change_settings("dev", controlPlaneRange="10.91.0.0/28"))
    [one] = repository.report("dev", head=head).stacks
    assert one.change is not None
    replaced = [found.urn for found in one.change.of(Operation.REPLACE)]
    updated = [found.urn for found in one.change.of(Operation.UPDATE)]
    steps = [
        a_step(urn, operation, replaceReasons=["location"])
        for urn in replaced[1:]
        for operation in ("create-replacement", "replace", "delete-replaced")
    ]
    # Of one the provider says that it can be changed in place; and one more is new to the state.
    steps += [a_step(replaced[0], "update"), a_step("urn:pulumi:dev::p::t:m:K::by-hand", "create")]
    steps += [*(a_step(urn, "update") for urn in updated), a_step("urn:pulumi:dev::p::t:m:K::same", "same")]
    file = tmp_path / "plan.json"
    file.write_text(json.dumps({"steps": steps}), encoding="utf-8")
    made = report(repository.folder, ["dev"], against="base", head=head, real=file, timeout=120)
    reality = made.stacks[0].reality
    assert reality is not None
    assert reality.agreed == len(replaced) - 1 + len(updated)
    assert {(found.urn, found.predicted, found.real) for found in reality.different} == {
        (replaced[0], Operation.REPLACE, Operation.UPDATE),
        ("urn:pulumi:dev::p::t:m:K::by-hand", None, Operation.CREATE),
    }
    assert "| `by-hand` | stays | create |" in markdown(made)


# The price


def a_line(what: str, quantity: float, rate: float, *, always: bool = True) -> dict[str, Any]:
    return {
        "part": "GPU nodes",
        "what": what,
        "resource": what,
        "unit": "node hours",
        "quantity": {"expected": quantity},
        "rate": rate,
        "alwaysOn": always,
    }


def a_cost(*lines: dict[str, Any]) -> dict[str, Any]:
    total = sum(line["quantity"]["expected"] * line["rate"] for line in lines)
    return {"monthly": {"expected": total}, "lines": list(lines), "isWhole": True, "currency": "USD"}


LINES = st.builds(
    a_line, st.sampled_from(["a", "b", "c"]), st.floats(0, 1000), st.floats(0.001, 30), always=st.booleans()
)


@given(st.lists(LINES, max_size=5), st.lists(LINES, max_size=5))
def test_the_causes_add_up_to_the_difference(before: list[Any], after: list[Any]) -> None:
    found = price_change(a_cost(*before), a_cost(*after))
    assert found.difference is not None
    assert found.by_price + found.by_quantity + found.by_use == pytest.approx(found.difference, abs=1e-6)


def test_each_cause_by_hand() -> None:
    """100 hours at 2 become 150 at 3: the 50 more at the old rate are 100, the dearer 150 are 150."""
    found = price_change(a_cost(a_line("a", 100, 2)), a_cost(a_line("a", 150, 3)))
    assert (found.by_price, found.by_quantity, found.by_use) == (150, 100, 0)
    used = price_change(a_cost(a_line("a", 100, 2, always=False)), a_cost(a_line("a", 150, 3, always=False)))
    assert (used.by_price, used.by_quantity, used.by_use) == (150, 0, 100)
    unknown = price_change(None, a_cost(a_line("a", 1, 1)))
    assert (unknown.before, unknown.after, unknown.difference) == (None, 1, None)


# The comment


NASTY = st.text(max_size=40) | st.sampled_from(
    [
        "@everyone",
        "```",
        "</details>",
        "<details>",
        "<!-- llmserve-preview -->",
        "[a](javascript:x)",
        "| a | b |",
        "<script>alert(1)</script>",
        "\u202eright to left",
        "![x](https://evil.example/x.png)",
        "#1 closes #2",
        "x" * 3000,
        "hf_" + "A" * 34,
    ]
)
CHANGES = st.builds(
    Change,
    operation=st.sampled_from(list(Operation)),
    urn=NASTY.map(lambda name: f"urn:pulumi:s::p::t:m:K::{name}"),
    type=st.sampled_from(["gcp:container/cluster:Cluster", "kubernetes:apps/v1:Deployment"]),
    name=NASTY,
    old_urn=st.just("") | NASTY,
    fields=st.lists(
        st.builds(Difference, path=NASTY, before=NASTY | st.just(MISSING), after=NASTY | st.integers()), max_size=3
    ).map(tuple),
    reasons=st.lists(st.builds(Reason, path=NASTY, source=NASTY, when=NASTY), max_size=2).map(tuple),
    dependents=st.lists(NASTY, max_size=3).map(tuple),
    source=NASTY,
    was_protected=st.booleans(),
    notes=st.lists(NASTY, max_size=1).map(tuple),
)
JUDGEMENTS = st.builds(
    Judgement,
    rule=NASTY,
    level=st.sampled_from(list(Level)),
    verdict=st.sampled_from(list(Verdict)),
    urn=NASTY,
    message=NASTY,
)


LONG_PRICE = PriceChange(before=1.0, after=2.0, by_price=1.0, lines=(("x" * 500, 1.0),) * 30)


@st.composite
def stack_reports(draw: st.DrawFn) -> StackReport:
    changes = draw(st.lists(CHANGES, max_size=6))
    changes = changes * draw(st.sampled_from([1, 1, 1, 50, 400]))
    # Not a strategy of them all: the library would write down what it holds.
    change = StackChange(
        stack=draw(NASTY),
        changes=tuple(changes),
        unchanged=draw(st.integers(0, 9)),
        config=tuple(draw(st.lists(st.builds(Difference, path=NASTY, before=NASTY, after=NASTY), max_size=2))),
        notes=tuple(draw(st.lists(NASTY, max_size=2))),
    )
    return StackReport(
        stack=draw(NASTY),
        change=change if draw(st.booleans()) else None,
        price=draw(
            st.none() | st.just(PriceChange(before=1.0, after=2.0, by_price=1.0, lines=(("x" * 500, 1.0),) * 30))
        ),
        judgements=tuple(draw(st.lists(JUDGEMENTS, max_size=3))) * draw(st.sampled_from([1, 1, 200])),
        failures=tuple(draw(st.lists(NASTY, max_size=2))),
        notes=tuple(draw(st.lists(NASTY, max_size=2))),
    )


@tries(max_examples=150, deadline=None)
@given(st.lists(stack_reports(), max_size=4), st.lists(NASTY, max_size=3), st.sampled_from([1, 1, 60]))
def test_whatever_changes_the_comment_is_whole(several: list[StackReport], notes: list[str], times: int) -> None:
    made = Report(base="a" * 10, head="b" * 10, stacks=tuple(several * times), notes=tuple(notes))
    written = markdown(made, failing=notes)
    assert len(written.encode()) <= LIMIT
    assert written.splitlines()[0] == MARKER
    outside = list(_outside_fences(written))
    text = "\n".join(outside)
    assert text.count("<details>") == text.count("</details>")
    assert text.count(MARKER) == 1
    assert not re.search(r"<(?!/?details>|/?summary>|!-- llmserve-preview -->)", text)
    assert "hf_AAAA" not in written
    in_text = re.sub(r"`[^`\n]*`", "", text)
    assert "@" not in in_text
    # A summary is HTML, in which no Markdown is read.
    assert "](" not in re.sub(r"<summary>.*?</summary>", "", in_text).replace("\\]\\(", "")


def _outside_fences(written: str) -> Iterator[str]:
    """Yield the lines that are in no fence, and see that every fence is closed."""
    fence = ""
    for line in written.splitlines():
        if fence:
            if line == fence:
                fence = ""
            continue
        if opened := re.match(r"(`{3,})[a-z]*$", line):
            fence = opened[1]
            continue
        yield line
    assert not fence


def test_a_fence_is_longer_than_any_in_it() -> None:
    one = StackReport(stack="prod", change=None, failures=("a\n```\n@everyone </details>\n````\nb",))
    outside = "\n".join(_outside_fences(markdown(Report(base="a", head="b", stacks=(one,)))))
    assert "everyone" not in outside
    assert outside.count("</details>") == outside.count("<details>")


def test_names_of_what_goes_survive_where_nothing_else_fits() -> None:
    changes = tuple(
        Change(
            operation=Operation.DELETE,
            urn=f"urn:pulumi:s::p::t:m:K::thing-{number}",
            type="gcp:storage/bucket:Bucket",
            name=f"thing-{number}",
            fields=(Difference(path="a", before="x" * 5000, after="y" * 5000),),
        )
        for number in range(150)
    )
    one = StackReport(stack="prod", change=StackChange(stack="prod", changes=changes, unchanged=0))
    written = markdown(Report(base="a", head="b", stacks=(one,)), limit=30_000)
    assert len(written.encode()) <= 30_000
    for number in range(150):
        assert f"`thing-{number}`" in written
    assert "Left out, because a comment holds no more: details of what is deleted or replaced in prod" in written


@pytest.mark.parametrize(
    "secret",
    [
        "hf_" + "a" * 30,
        "ya29." + "b" * 40,
        "ghp_" + "c" * 36,
        "AIza" + "d" * 35,
        "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE",
        "pul-" + "0" * 40,
    ],
)
def test_what_looks_like_a_secret_is_taken_out(secret: str) -> None:
    written = without_secrets(f"before {secret} after")
    assert secret.rsplit("\n", maxsplit=1)[-1] not in written or "after" not in written
    assert "[secret]" in written
