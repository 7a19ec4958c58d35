"""The offline engine on small programs: naming, options, unknowns, secrets, failures, isolation."""

import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import preview
from preview import UNKNOWN, Secret, sdk
from preview.monitor import make_urn

PLATFORM = Path(__file__).parent / "programs" / "platform"
RANDOM = "random:index/randomId:RandomId"
Record = Callable[..., preview.Snapshot]


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """Runs a program that is given as text."""

    def run(source: str, *, project: str = "name: small\nruntime: python\n", **options: object) -> preview.Snapshot:
        (tmp_path / "Pulumi.yaml").write_text(project)
        (tmp_path / "Pulumi.dev.yaml").write_text("config: {}\n")
        (tmp_path / "__main__.py").write_text(
            "import pulumi\nimport pulumi_random as random\n" + textwrap.dedent(source)
        )
        return preview.record(tmp_path, "dev", **options)  # type: ignore[arg-type]

    return run


@pytest.fixture(scope="module")
def platform() -> preview.Snapshot:
    return preview.record(PLATFORM, "dev")


@pytest.fixture(scope="module")
def updated() -> preview.Snapshot:
    return preview.record(PLATFORM, "dev", preview=False)


def failure(record: Record, source: str, **options: object) -> str:
    with pytest.raises(preview.ProgramFailed) as caught:
        record(source, **options)
    return str(caught.value)


# Names


def urn(parent: str, kind: str, name: str) -> str:
    return make_urn(stack="dev", project="p", parent=parent, type_token=kind, name=name)


def test_urn_holds_the_whole_chain_of_types_without_the_stack() -> None:
    stack = urn("", "pulumi:pulumi:Stack", "p-dev")
    outer = urn(stack, "a:b:Outer", "o")
    inner = urn(outer, "a:b:Inner", "i")
    leaf = urn(inner, RANDOM, "x")
    assert stack == "urn:pulumi:dev::p::pulumi:pulumi:Stack::p-dev"
    assert leaf == f"urn:pulumi:dev::p::a:b:Outer$a:b:Inner${RANDOM}::x"


def test_children_of_a_component_carry_its_type(platform: preview.Snapshot) -> None:
    pool = platform.named("gpu")
    assert pool.urn == "urn:pulumi:dev::platform::platform:index:Cluster$gcp:container/nodePool:NodePool::gpu"
    assert pool.parent == platform.named("main", "platform:index:Cluster").urn


def test_a_urn_that_stands_twice_is_refused_with_both_lines(record: Record) -> None:
    message = failure(record, 'random.RandomId("a", byte_length=1)\nrandom.RandomId("a", byte_length=1)')
    duplicate = f"urn:pulumi:dev::small::{RANDOM}::a"
    assert message == (
        f"__main__.py:4: Duplicate resource URN '{duplicate}'; try giving it a unique name"
        " (the first is at __main__.py:3)"
    )


def test_names_that_providers_choose_are_the_same_in_every_run(platform: preview.Snapshot) -> None:
    again = preview.record(PLATFORM, "dev")
    cluster = platform.named("main", "gcp:container/cluster:Cluster")
    namespace = platform.named("models")
    assert cluster.inputs["name"].startswith("main-")
    assert namespace.inputs["metadata"]["name"].startswith("models-")
    assert cluster.inputs["name"] == again.named("main", "gcp:container/cluster:Cluster").inputs["name"]
    # One that the program gives is left alone.
    assert platform.named("token").inputs["metadata"]["name"] == "token"


# What is known


def test_what_only_exists_later_is_unknown_and_stays_so(platform: preview.Snapshot) -> None:
    assert platform.named("gpu").id is UNKNOWN
    container = platform.named("server").inputs["spec"]["template"]["spec"]["containers"][0]
    assert [variable["value"] for variable in container["env"]] == [UNKNOWN, UNKNOWN]
    assert platform.outputs["endpoint"] is UNKNOWN


def test_what_is_given_or_chosen_is_known(platform: preview.Snapshot) -> None:
    cluster = platform.named("main", "gcp:container/cluster:Cluster")
    assert platform.named("gpu").inputs["cluster"] == cluster.inputs["name"]
    assert platform.outputs["replicas"] == 2


def test_a_field_that_a_provider_may_add_to_a_given_object_is_unknown(record: Record) -> None:
    recorded = record("""
        import pulumi_gcp as gcp
        endpoints = gcp.container.ClusterControlPlaneEndpointsConfigArgs(
            dns_endpoint_config=gcp.container.ClusterControlPlaneEndpointsConfigDnsEndpointConfigArgs(
                allow_external_traffic=True))
        cluster = gcp.container.Cluster("c", location="europe-west4", control_plane_endpoints_config=endpoints)
        dns = cluster.control_plane_endpoints_config.dns_endpoint_config
        pulumi.export("endpoint", pulumi.Output.concat("https://", dns.endpoint))
        pulumi.export("external", dns.allow_external_traffic)
    """)
    assert recorded.outputs == {"endpoint": UNKNOWN, "external": True}


def test_a_secret_stays_secret_through_apply_inputs_and_outputs(platform: preview.Snapshot) -> None:
    assert isinstance(platform.named("cluster").inputs["kubeconfig"], Secret)
    assert isinstance(platform.outputs["token"], Secret)
    # One unknown makes the whole map unknown, and it is secret all the same.
    assert platform.named("token").inputs["stringData"] == Secret(UNKNOWN)
    password = platform.named("password")
    assert password.outputs["result"] == Secret(UNKNOWN)


def test_an_update_knows_everything(updated: preview.Snapshot, platform: preview.Snapshot) -> None:
    assert {r.urn for r in updated.resources} == {r.urn for r in platform.resources}
    for resource in updated.resources:
        unknown = [path for path, value in preview.values.walk(dict(resource.inputs)) if value is UNKNOWN]
        assert not unknown, (resource.urn, unknown)
        assert resource.id is not UNKNOWN
    assert updated.outputs["endpoint"] == "⟦Cluster/main.endpoint⟧"


def test_a_resource_made_in_apply_shows_in_the_update_only(record: Record) -> None:
    source = """
        first = random.RandomId("first", byte_length=1)
        first.hex.apply(lambda hex: random.RandomId("hidden", byte_length=1))
    """
    assert len(record(source).of_type(RANDOM)) == 1
    assert len(record(source, preview=False).of_type(RANDOM)) == 2


def test_an_export_in_apply_comes_too_late_as_in_the_engine(record: Record) -> None:
    source = 'pulumi.export("early", 1)\npulumi.Output.from_input(1).apply(lambda one: pulumi.export("late", one))'
    assert record(source).outputs == {"early": 1}


def test_placeholders_are_typed(record: Record) -> None:
    source = """
        import pulumi_gcp as gcp
        cluster = gcp.container.Cluster("c", location="x")
        pulumi.export("certificate", cluster.master_auth.cluster_ca_certificate)
        pulumi.export("number", cluster.node_version)
        pulumi.export("sum", random.RandomInteger("n", min=1, max=2).result.apply(lambda n: n + 1))
    """
    assert record(source, placeholders=True).outputs["certificate"] == "⟦Cluster/c.masterAuth.clusterCaCertificate⟧"
    assert record(source, preview=False).outputs["sum"] == 1


# Provider functions, reads, imports


INVOKE = """
    import pulumi_gcp as gcp
    project = gcp.organizations.get_project_output(project_id="example")
    pulumi.export("number", project.number)
"""


def test_a_provider_function_is_unknown_without_a_fixture(record: Record) -> None:
    recorded = record(INVOKE)
    assert recorded.outputs["number"] is UNKNOWN
    assert [(i.token, i.answered) for i in recorded.invokes] == [("gcp:organizations/getProject:getProject", False)]


def test_a_provider_function_is_answered_by_a_fixture(record: Record) -> None:
    recorded = record(INVOKE, fixtures={"gcp:organizations/getProject:getProject": {"number": "42"}})
    assert recorded.outputs["number"] == "42"
    assert recorded.invokes[0].answered


def test_a_plain_provider_function_that_nobody_answers_is_named(record: Record) -> None:
    message = failure(
        record, 'import pulumi_gcp as gcp\nnumber = gcp.organizations.get_project(project_id="example").number'
    )
    assert message.startswith("__main__.py:4: in <module>")
    assert "gcp:organizations/getProject:getProject" in message


def test_a_resource_that_is_read(platform: preview.Snapshot) -> None:
    shared = platform.named("shared")
    assert (shared.operation, shared.id) == ("read", "projects/example/global/networks/shared")


def test_a_resource_that_is_imported(platform: preview.Snapshot) -> None:
    suffix = platform.named("suffix")
    assert (suffix.operation, suffix.id, suffix.options["importID"]) == ("import", "p-9hUg", "p-9hUg")


# Options


def test_options_arrive(platform: preview.Snapshot) -> None:
    server = platform.named("server").options
    assert server["ignoreChanges"] == ["spec.replicas"]
    assert server["customTimeouts"] == {"create": "15m"}
    assert platform.named("main", "gcp:container/cluster:Cluster").options["protect"] is True
    assert {"name": "old-suffix", "parentUrn": ""} in platform.named("suffix").options["aliases"]


def test_dependencies_expand_components_and_name_their_properties(platform: preview.Snapshot) -> None:
    server, pool = platform.named("server"), platform.named("gpu")
    cluster = platform.named("main", "gcp:container/cluster:Cluster")
    assert {cluster.urn, pool.urn} <= set(server.dependencies)
    assert pool.property_dependencies["cluster"] == (cluster.urn,)
    assert pool.property_dependencies["nodeConfig"] == ()


def test_providers_are_inherited_and_known_by_reference(platform: preview.Snapshot) -> None:
    google = platform.named("google")
    assert platform.named("gpu").provider == f"{google.urn}::{preview.values.UNKNOWN_SENTINEL}"
    assert "default_4" in platform.named("password").provider


def test_options_are_inherited_from_a_component(record: Record) -> None:
    recorded = record("""
        class Box(pulumi.ComponentResource):
            def __init__(self, name, opts=None):
                super().__init__("small:index:Box", name, None, opts)
                random.RandomId("inside", byte_length=1, opts=pulumi.ResourceOptions(parent=self))
        Box("box", opts=pulumi.ResourceOptions(protect=True, retain_on_delete=True))
    """)
    assert recorded.named("inside").options["protect"] is True
    assert recorded.named("inside").options["retainOnDelete"] is True


def test_a_component_says_whether_it_registered_its_outputs(record: Record, platform: preview.Snapshot) -> None:
    assert platform.named("main", "platform:index:Cluster").registered
    assert platform.named("main", "platform:index:Cluster").outputs == {"endpoint": UNKNOWN}
    recorded = record("""
        class Box(pulumi.ComponentResource):
            def __init__(self, name):
                super().__init__("small:index:Box", name)
        Box("box")
    """)
    assert not recorded.named("box").registered


def test_transforms_change_properties_and_options(record: Record) -> None:
    recorded = record("""
        def transform(args):
            if args.type_ != "random:index/randomId:RandomId":
                return None
            return pulumi.ResourceTransformResult(
                props={**args.props, "byteLength": 9},
                opts=pulumi.ResourceOptions.merge(args.opts, pulumi.ResourceOptions(protect=True)))
        pulumi.runtime.register_resource_transform(transform)
        random.RandomId("a", byte_length=1)
    """)
    assert recorded.named("a").inputs["byteLength"] == 9
    assert recorded.named("a").options["protect"] is True


DISABLED = "name: small\nruntime: python\nconfig:\n  pulumi:disable-default-providers: {{value: [{}]}}\n"


@pytest.mark.parametrize("listed", ['"*"', "random"])
def test_a_disabled_default_provider_fails_as_in_the_engine(record: Record, listed: str) -> None:
    message = failure(record, 'random.RandomId("a", byte_length=1)', project=DISABLED.format(listed))
    denied = f"urn:pulumi:dev::small::{RANDOM}::a"
    assert (
        message == f"__main__.py:3: Default provider for 'random' disabled. '{denied}' must use an explicit provider."
    )


def test_an_explicit_provider_is_accepted_where_default_ones_are_disabled(record: Record) -> None:
    source = 'random.RandomId("a", byte_length=1, opts=pulumi.ResourceOptions(provider=random.Provider("p")))'
    assert "random::p::" in record(source, project=DISABLED.format('"*"')).named("a").provider


# Failures of programs


def test_an_exception_shows_the_readers_own_lines_and_nothing_else(record: Record, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("def divide(x):\n    return 1 / x\n")
    message = failure(record, "import helper\n\nhelper.divide(0)")
    assert message.splitlines() == [
        "__main__.py:5: in <module>",
        "    helper.divide(0)",
        "helper.py:2: in divide",
        "    return 1 / x",
        "ZeroDivisionError: division by zero",
    ]


def test_lines_of_packages_that_are_installed_in_the_project_are_left_out(record: Record, tmp_path: Path) -> None:
    packages = tmp_path / ".venv" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "library_of_others.py").write_text("def fail():\n    raise KeyError('x')\n")
    message = failure(
        record, f"import sys\nsys.path.append({str(packages)!r})\nimport library_of_others\nlibrary_of_others.fail()"
    )
    assert message.splitlines() == [
        "__main__.py:6: in <module>",
        "    library_of_others.fail()",
        "KeyError: 'x'",
    ]


def test_an_exception_in_apply_shows_the_readers_own_line(record: Record) -> None:
    message = failure(record, 'pulumi.Output.from_input("x").apply(lambda text: int(text))')
    assert "__main__.py:3: in <lambda>" in message
    assert message.endswith("ValueError: invalid literal for int() with base 10: 'x'")
    assert "site-packages" not in message


def test_an_output_in_an_f_string_is_an_error(record: Record) -> None:
    message = failure(record, 'a = random.RandomId("a", byte_length=1)\nrandom.RandomId(f"b-{a.hex}", byte_length=1)')
    assert message.startswith("__main__.py:4: in <module>")
    assert "Output" in message


def test_a_syntax_error_names_the_line(record: Record) -> None:
    assert failure(record, "x = = 1").startswith("__main__.py:3:\n    x = = 1\nSyntaxError")


def test_run_error_is_its_own_message_and_a_refusal_is_recognised(record: Record) -> None:
    assert failure(record, 'raise pulumi.RunError("no more than this")') == "no more than this"
    with pytest.raises(preview.Refused) as caught:
        record("""
            class Refusal(Exception):
                pass
            try:
                raise Refusal("Pulumi.dev.yaml: 1 problem")
            except Refusal as refusal:
                raise pulumi.RunError(str(refusal)) from refusal
        """)
    assert str(caught.value) == "Pulumi.dev.yaml: 1 problem"
    assert caught.value.exit_code == 2


def test_sys_exit_is_a_failure_unless_it_is_zero(record: Record) -> None:
    assert "sys.exit(3)" in failure(record, "import sys\nsys.exit(3)")
    assert record('random.RandomId("a", byte_length=1)\nimport sys\nsys.exit(0)').named("a").type == RANDOM


def test_a_crash_and_a_hang_are_said(record: Record) -> None:
    assert "was killed by SIGKILL" in failure(record, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    message = failure(record, "import time\ntime.sleep(60)", timeout=0.5)
    assert message.startswith("dev: the program did not end within 0.5 seconds")


def test_what_a_program_prints_becomes_messages(record: Record) -> None:
    recorded = record('print("hello")\nimport sys\nprint("careful", file=sys.stderr)\npulumi.log.warn("look")')
    assert [(d.severity, d.message) for d in recorded.diagnostics] == [
        ("warning", "look"),
        ("info", "hello"),
        ("info#err", "careful"),
    ]
    assert [d.message for d in record("print('in', __file__)").diagnostics] == ["in __main__.py"]


# Isolation


def test_the_parent_imports_nothing_of_the_project_and_the_child_nothing_of_the_parents(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "helper_of_both.py").write_text("WHERE = 'project'\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "helper_of_both.py").write_text("WHERE = 'parent'\n")
    # As for `python -m preview`, the project's folder is where this process would import from.
    monkeypatch.syspath_prepend(str(tmp_path))
    recorded = record('import helper_of_both\npulumi.export("where", helper_of_both.WHERE)')
    assert recorded.outputs["where"] == "project"
    assert "helper_of_both" not in sys.modules
    # A parent that runs in another revision's folder and has imported that one's module, as a test process may have.
    monkeypatch.chdir(elsewhere)
    monkeypatch.syspath_prepend(str(elsewhere))
    __import__("helper_of_both")
    try:
        assert (
            record('import helper_of_both\npulumi.export("where", helper_of_both.WHERE)').outputs["where"] == "project"
        )
        assert sys.modules["helper_of_both"].WHERE == "parent"
    finally:
        del sys.modules["helper_of_both"]


def test_the_environment_and_folder_of_the_parent_stay(record: Record, tmp_path: Path) -> None:
    before = (Path.cwd(), dict(os.environ), list(sys.path))
    recorded = record('import os\npulumi.export("cwd", os.getcwd())\npulumi.export("stack", pulumi.get_stack())')
    assert recorded.outputs == {"cwd": str(tmp_path.resolve()), "stack": "dev"}
    assert (Path.cwd(), dict(os.environ), list(sys.path)) == before


@pytest.mark.parametrize(
    ("module", "loaded"),
    [
        ("pulumi_random", True),
        ("yaml", True),
        # A submodule that is imported first leaves the package's lazy module broken, for the program to find.
        ("pulumi_gcp.container.cluster", False),
        ("os", False),
        ("no_such_package", False),
        ("components", False),
    ],
)
def test_only_installed_packages_are_preloaded(tmp_path: Path, module: str, *, loaded: bool) -> None:
    (tmp_path / "components").mkdir()
    assert (sdk.import_package(module, [], tmp_path) is not None) is loaded


def test_preloading_leaves_lazy_modules_whole(record: Record) -> None:
    recorded = record("""
        import pulumi_gcp as gcp
        gcp.pubsub.Topic("topic")
    """)
    assert recorded.named("topic").type == "gcp:pubsub/topic:Topic"
    assert hasattr(sys.modules["pulumi_gcp"].pubsub, "Topic")
