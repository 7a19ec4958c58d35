"""The shapes of language models, as far as their memory and their division among GPUs follow from them.

One row of architectures.csv is one model: the columns are the fields of `Architecture`, repositories are divided by
spaces, an empty `gated` is unknown. To add one, copy the numbers of its `config.json` and name the source; a model of
a new `model_type` needs a line in FAMILIES too. A model that is not here can be given as its own `config.json`.

Gated are the models whose card asks for an agreement, as read in https://huggingface.co/meta-llama/Llama-3.1-8B and
https://huggingface.co/google/gemma-2-9b-it and, of Llama 3.3 70B, in kaito-project/kaito at commit 056b8280,
presets/workspace/models/supported_models.yaml. Mistral's were gated at one time and open at another: unknown.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

_LARGEST = 2**31
"""No dimension of a network comes near: a larger number is a mistake, and no arithmetic overflows below."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """What the networks of one `model_type` have in common, where it changes how many parameters they have."""

    norms_per_layer: int = 2
    query_key_value_bias: bool = False
    norm_per_head: bool = False
    """A norm on each head's query and on its key."""
    tied_embeddings: bool = False
    """Whether the output layer is the embedding where `config.json` does not say."""


FAMILIES: Final = {
    "gemma2": Family(norms_per_layer=4, tied_embeddings=True),
    "gemma3_text": Family(norms_per_layer=4, norm_per_head=True, tied_embeddings=True),
    "llama": Family(),
    "mistral": Family(),
    "mixtral": Family(),
    "phi3": Family(),
    "qwen2": Family(query_key_value_bias=True),
    "qwen3": Family(norm_per_head=True),
    "qwen3_moe": Family(norm_per_head=True),
}
"""By `model_type`: decoders whose every layer is attention and a gated feed-forward network, or experts of that kind.

https://github.com/huggingface/transformers, src/transformers/models: modeling_*.py and configuration_*.py of each.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantization:
    """How stored weights are quantised: bits of one weight, and how many weights share a scale (None is a channel)."""

    method: str
    bits: float
    group_size: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """One network's shape. `repositories` have exactly these weights, in 16 bits unless `quantization` says otherwise.

    `gated` is whether the hub asks for a token; None is unknown. A dense network has one expert. `intermediate_size` is
    that of one expert.
    """

    name: str
    repositories: tuple[str, ...]
    model_type: str
    gated: bool | None
    layers: int
    hidden_size: int
    attention_heads: int
    key_value_heads: int
    head_dim: int
    intermediate_size: int
    vocabulary_size: int
    experts: int
    experts_per_token: int
    maximum_positions: int
    tied_embeddings: bool
    quantization: Quantization | None
    source: str

    @property
    def linear_parameters(self) -> int:
        """Weights that quantising makes smaller: attention and feed-forward, not embedding, output, norms or router."""
        attention = 2 * (self.attention_heads + self.key_value_heads) * self.head_dim
        return self.layers * self.hidden_size * (attention + 3 * self.intermediate_size * self.experts)

    @property
    def parameters(self) -> int:
        """All weights."""
        family = FAMILIES[self.model_type]
        norms = family.norms_per_layer * self.hidden_size + family.norm_per_head * 2 * self.head_dim
        biases = family.query_key_value_bias * (self.attention_heads + 2 * self.key_value_heads) * self.head_dim
        router = self.experts * self.hidden_size if self.experts > 1 else 0
        ends = (1 if self.tied_embeddings else 2) * self.vocabulary_size * self.hidden_size + self.hidden_size
        return self.linear_parameters + self.layers * (norms + biases + router) + ends


_TRUTH: Final = {"yes": True, "no": False, "": None}


@cache
def architectures() -> tuple[Architecture, ...]:
    """Every model of the catalogue, in its order."""
    with (Path(__file__).parent / "architectures.csv").open(encoding="utf-8", newline="") as table:
        return tuple(
            Architecture(
                name=row["name"],
                repositories=tuple(row["repositories"].split()),
                model_type=row["model_type"],
                gated=_TRUTH[row["gated"]],
                layers=int(row["layers"]),
                hidden_size=int(row["hidden_size"]),
                attention_heads=int(row["attention_heads"]),
                key_value_heads=int(row["key_value_heads"]),
                head_dim=int(row["head_dim"]),
                intermediate_size=int(row["intermediate_size"]),
                vocabulary_size=int(row["vocabulary_size"]),
                experts=int(row["experts"]),
                experts_per_token=int(row["experts_per_token"]),
                maximum_positions=int(row["maximum_positions"]),
                tied_embeddings=bool(_TRUTH[row["tied_embeddings"]]),
                quantization=None,
                source=row["source"],
            )
            for row in csv.DictReader(table)
        )


@cache
def _by_name() -> dict[str, Architecture]:
    return {name.lower(): known for known in architectures() for name in (known.name, *known.repositories)}


def architecture_of(name_or_repository: str) -> Architecture | None:
    """Find a model by its name here or by a repository of its weights, in any case; None is not in the catalogue."""
    return _by_name().get(name_or_repository.lower())


def from_hugging_face(config: object, *, name: str) -> Architecture:
    """Read a model's `config.json`, as JSON gave it; of a model that sees or hears, the part that writes.

    Raises ValueError that names every key which is missing or wrong.
    https://huggingface.co/docs/transformers/main_classes/configuration
    """
    if not isinstance(config, Mapping):
        raise ValueError(f"config.json is {_shown(config)}, not an object")
    text = config.get("text_config")
    keys = _Keys({**config, **text} if isinstance(text, Mapping) else config)
    family = keys.family()
    hidden_size, attention_heads = keys.size("hidden_size"), keys.size("num_attention_heads")
    key_value_heads = keys.size("num_key_value_heads", default=attention_heads)
    if attention_heads % key_value_heads:
        keys.wrong("num_key_value_heads", f"is {key_value_heads}, which does not divide {attention_heads} heads")
    experts = keys.size("num_local_experts", "num_experts", default=1)
    experts_per_token = keys.size("num_experts_per_tok", default=1)
    if experts_per_token > experts:
        keys.wrong("num_experts_per_tok", f"is {experts_per_token}, more than there are experts ({experts})")
    if experts > 1:
        keys.each_layer_has_experts()
    even = hidden_size % attention_heads == 0
    architecture = Architecture(
        name=name,
        repositories=(),
        model_type=str(keys.get("model_type")),
        gated=None,
        layers=keys.size("num_hidden_layers"),
        hidden_size=hidden_size,
        attention_heads=attention_heads,
        key_value_heads=key_value_heads,
        head_dim=keys.size("head_dim", default=hidden_size // attention_heads if even else None),
        intermediate_size=keys.size(*(("moe_intermediate_size",) if experts > 1 else ()), "intermediate_size"),
        vocabulary_size=keys.size("vocab_size"),
        experts=experts,
        experts_per_token=experts_per_token,
        maximum_positions=keys.size("max_position_embeddings"),
        tied_embeddings=keys.truth("tie_word_embeddings", default=family.tied_embeddings),
        quantization=keys.quantization(),
        source="config.json" if "vision_config" not in config else "config.json, without the part that sees",
    )
    if keys.problems:
        raise ValueError("; ".join(keys.problems))
    return architecture


class _Keys:
    """A config.json being read: each method gives something that fits, and keeps what was wrong for the end."""

    def __init__(self, keys: Mapping[str, object], place: str = "") -> None:
        self._keys, self._place = keys, place
        self.problems: list[str] = []

    def get(self, key: str) -> object:
        return self._keys.get(key)

    def wrong(self, key: str, reason: str) -> None:
        self.problems.append(f"{self._place}{key} {reason}")

    def family(self) -> Family:
        written = self.get("model_type")
        if isinstance(written, str) and written in FAMILIES:
            return FAMILIES[written]
        self.wrong("model_type", _said(written, f"one whose memory can be computed: {', '.join(FAMILIES)}"))
        return Family()

    def size(self, *names: str, default: int | None = None) -> int:
        key = next((name for name in names if self.get(name) is not None), names[-1])
        written = self.get(key)
        if written is None and default is not None:
            return default
        if isinstance(written, int) and not isinstance(written, bool) and 0 < written < _LARGEST:
            return written
        self.wrong(key, _said(written, "a whole number above 0"))
        return 1

    def truth(self, key: str, *, default: bool) -> bool:
        written = self.get(key)
        if isinstance(written, bool):
            return written
        if written is not None:
            self.wrong(key, _said(written, "true or false"))
        return default

    def each_layer_has_experts(self) -> None:
        if self.get("mlp_only_layers") or self.get("decoder_sparse_step") not in (None, 1):
            self.wrong("mlp_only_layers, decoder_sparse_step", "leave layers without experts, which is not computed")

    def quantization(self) -> Quantization | None:
        written = self.get("quantization_config")
        if written is None:
            return None
        if not isinstance(written, Mapping):
            self.wrong("quantization_config", _said(written, "an object"))
            return None
        inner = _Keys(written, "quantization_config.")
        method, bits, group_size = inner.get("quant_method"), *inner.stored_weight()
        if not isinstance(method, str):
            inner.wrong("quant_method", _said(method, "a name"))
        inner.all_layers_are_quantised()
        self.problems += inner.problems
        return Quantization(method=str(method), bits=bits, group_size=group_size)

    def stored_weight(self) -> tuple[float, int | None]:
        """Give the bits of a weight, and how many weights share a scale."""
        if self.get("load_in_4bit") is True:
            # The scales of its blocks of 64 weights have 32 bits, or 8 where they are quantised in turn.
            return 4 + (8 if self.get("bnb_4bit_use_double_quant") is True else 32) / 64, None
        if self.get("load_in_8bit") is True or self.get("quant_method") in ("fp8", "fbgemm_fp8"):
            return 8, None
        groups = self.get("config_groups")
        if not isinstance(groups, Mapping):
            return self._bits("bits"), self._group_size()
        found = []
        for name, group in groups.items():
            weights = group.get("weights") if isinstance(group, Mapping) else None
            place = f"{self._place}config_groups.{name}.weights."
            inner = _Keys(weights if isinstance(weights, Mapping) else {}, place)
            found.append((inner._bits("num_bits"), inner._group_size()))
            self.problems += inner.problems
        if not found:
            self.wrong("config_groups", "is empty")
        # Which layers are of which group is not read: as large as the largest.
        return max(found, key=lambda weight: (weight[0], -(weight[1] or _LARGEST)), default=(16, None))

    def _bits(self, key: str) -> float:
        written = self.get(key)
        if isinstance(written, int | float) and not isinstance(written, bool) and 1 <= written <= 16:
            return written
        self.wrong(key, _said(written, "a number of bits from 1 to 16"))
        return 16

    def _group_size(self) -> int | None:
        return None if self.get("group_size") in (None, -1) else self.size("group_size")

    def all_layers_are_quantised(self) -> None:
        for key in ("ignore", "modules_to_not_convert"):
            written = self.get(key)
            names = written if isinstance(written, list) else []
            if left := [name for name in names if not any(part in _shown(name) for part in _NEVER_QUANTISED)]:
                self.wrong(key, f"leaves layers in 16 bits, which is not computed: {_shown(left[0])}")


_NEVER_QUANTISED: Final = ("lm_head", "embed", "norm", "router", "moe.gate", "vision", "visual", "multi_modal")
"""Parts of the names of layers that are counted in 16 bits, or not at all, whatever config.json says."""


def _said(written: object, expected: str) -> str:
    return "is missing" if written is None else f"is {_shown(written)}, not {expected}"


def _shown(written: object) -> str:
    """Write it in few letters, however large it is."""
    if isinstance(written, str):
        return repr(written if len(written) <= 60 else f"{written[:59]}…")
    if isinstance(written, bool):
        return str(written).lower()
    if isinstance(written, int | float):
        return "too large a number" if isinstance(written, int) and abs(written) > _LARGEST else str(written)
    return "empty" if written is None else "a list" if isinstance(written, list) else "an object"
