"""The order of resources says nothing of the order in which requests happened to arrive."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from preview.child import in_order


def resource(urn: str, parent: str = "", *, provider: str = "", dependencies: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "urn": urn,
        "parent": parent,
        "provider": provider and f"{provider}::id",
        "dependencies": list(dependencies),
    }


RESOURCES = [
    resource("stack"),
    resource("provider", "stack", dependencies=("b",)),
    resource("z-component", "stack"),
    resource("b", "z-component"),
    resource("a", "z-component", provider="provider"),
    resource("c", "z-component", dependencies=("a", "b")),
    resource("elsewhere", "stack", provider="of another engine"),
]


@given(arrived=st.permutations(RESOURCES))
def test_the_order_is_the_same_however_requests_arrive(arrived: list[dict[str, Any]]) -> None:
    ordered = [found["urn"] for found in in_order({found["urn"]: found for found in arrived})]
    assert ordered == ["stack", "elsewhere", "z-component", "b", "provider", "a", "c"]
