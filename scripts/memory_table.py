"""The table of docs/memory.md: what the A2 machines hold of each model."""

from collections.abc import Iterator, Sequence

from catalog.architectures import Architecture, architectures
from catalog.gpu_machines import gpu_machines
from planning.memory import Verdict, fit, shard_problem

SHAPES = tuple(f"a2-{family}-{gpus}g" for family in ("highgpu", "ultragpu") for gpus in (1, 2, 4, 8))
QUANTISED = {
    "llama-3.3-70b": ("fp8", "awq", "bitsandbytes-nf4"),
    "qwen2.5-72b": ("fp8", "awq"),
    "qwen2.5-32b": ("fp8", "awq"),
    "mixtral-8x7b": ("fp8", "awq"),
}


def table() -> str:
    """Make the Markdown table: a row a model, a column a machine, in thousands of tokens of KV cache."""
    machines = {machine.machine_type: machine for machine in gpu_machines()}
    shapes = [(machines[name].gpus, machines[name].gpu_memory_gib) for name in SHAPES]
    header = [
        ("model", "weights, GB", "KV cache a token, KiB", *SHAPES),
        ("", "", "", *(f"{gpus} x {memory} GB" for gpus, memory in shapes)),
    ]
    lines = [header[0], ("---",) * len(header[0]), header[1], *_rows(shapes)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rows(shapes: Sequence[tuple[int, int]]) -> Iterator[tuple[str, ...]]:
    """Give models that differ in nothing one line."""
    names: dict[tuple[str, ...], list[str]] = {}
    for architecture in architectures():
        names.setdefault(_figures(architecture, None, shapes), []).append(f"`{architecture.name}`")
    for figures, same in names.items():
        yield ", ".join(same), *figures
    by_name = {architecture.name: architecture for architecture in architectures()}
    for name, ways in QUANTISED.items():
        for quantize in ways:
            yield f"`{name}` by `{quantize}`", *_figures(by_name[name], quantize, shapes)


def _figures(architecture: Architecture, quantize: str | None, shapes: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    one = fit(architecture, gpus=1, gpu_memory_gb=1, quantize=quantize)
    return (
        f"{one.weights_bytes / 1e9:.1f}",
        f"{one.key_value_bytes_per_token / 1024:g}",
        *(_cell(architecture, quantize, gpus, memory) for gpus, memory in shapes),
    )


def _cell(architecture: Architecture, quantize: str | None, gpus: int, memory: int) -> str:
    if shard_problem(architecture, gpus) is not None:
        return "heads"
    found = fit(architecture, gpus=gpus, gpu_memory_gb=memory, quantize=quantize)
    if found.verdict is Verdict.DOES_NOT_FIT:
        return "no"
    tokens = f"{found.key_value_tokens / 1000:,.0f}k"
    return f"{tokens} tight" if found.verdict is Verdict.TIGHT else tokens
