"""The rule for what holds data: deleting it takes two steps."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from planning.policies import Policy
from policy.rules.cluster import CLUSTER
from policy.rules.place import Place
from policy.rules.rule import Facts, Finding, Rule, Seen, Violation, judged


def _never(_: Place) -> bool:
    return False


def _keeps_objects(bucket: Place) -> bool:
    # Google deletes no bucket with something in it; with forceDestroy the provider empties it first.
    return bucket["forceDestroy"].value is not True


def _can_be_fetched_again(repository: Place) -> bool:
    return repository["mode"].text in ("REMOTE_REPOSITORY", "VIRTUAL_REPOSITORY")


HOLDS_DATA: Final[Mapping[str, tuple[str, Callable[[Place], bool]]]] = {
    CLUSTER: ("the disks of Prometheus, and everything that runs", _never),
    "gcp:artifactregistry/repository:Repository": ("images", _can_be_fetched_again),
    "gcp:bigquery/dataset:Dataset": ("tables", _never),
    "gcp:compute/disk:Disk": ("a disk", _never),
    "gcp:kms/cryptoKey:CryptoKey": ("a key, without which all that it encrypted is lost", _never),
    "gcp:secretmanager/secret:Secret": ("a secret", _never),
    "gcp:sql/databaseInstance:DatabaseInstance": ("a database", _never),
    "gcp:storage/bucket:Bucket": ("objects", _keeps_objects),
    "kubernetes:core/v1:PersistentVolumeClaim": ("a disk", _never),
}
"""By type, what it holds, and what makes up for a missing `protect`."""


def protected_data(resource: Seen, _: Facts) -> Iterator[Finding]:
    """Yield what holds data and can be deleted in one step."""
    if resource.type in HOLDS_DATA and not resource.protect:
        yield from judged(_protected_data(resource))


def _protected_data(resource: Seen) -> Iterator[Finding]:
    holds, makes_up_for_it = HOLDS_DATA[resource.type]
    if not makes_up_for_it(resource.place):
        yield Violation(message=f"holds {holds} and has no option protect")


RULES: Final = (
    Rule(
        name=Policy.PROTECTED_DATA,
        what="What holds data is protected.",
        why="a renamed resource is a deleted one, and what it held is gone before anybody reads the preview.",
        fix="the option protect; of a bucket, no forceDestroy. llmserve:deletionProtection does it.",
        of_resource=protected_data,
    ),
)
