"""Keeping secrets out of everything that is shown."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from preview.values import SECRET_SIGNATURE, SHOWN_SECRET, SIGNATURE_KEY, UNKNOWN_SENTINEL

_SHORTEST: Final = 6
"""Shorter texts that the program marked secret (`true`, `admin`) are hidden where they stand, but not searched
for elsewhere.
"""


def secret_texts(wire: Any) -> frozenset[str]:
    """Every text that a wire value carries inside a secret."""
    return frozenset(_texts(wire, inside=False))


def _texts(wire: Any, *, inside: bool) -> Iterator[str]:
    if isinstance(wire, str):
        if inside and len(wire) >= _SHORTEST and wire != UNKNOWN_SENTINEL:
            yield wire
    elif isinstance(wire, list):
        for item in wire:
            yield from _texts(item, inside=inside)
    elif isinstance(wire, dict):
        secret = inside or wire.get(SIGNATURE_KEY) == SECRET_SIGNATURE
        for key, item in wire.items():
            if key != SIGNATURE_KEY:
                yield from _texts(item, inside=secret)


def mask(shown: Any, secrets: frozenset[str]) -> Any:
    """Return text, or plain JSON, with every secret in any of its texts replaced, however it is quoted or
    encoded.
    """
    pattern = _pattern(secrets)
    return shown if pattern is None else _mask(shown, pattern)


@lru_cache(maxsize=8)
def _pattern(secrets: frozenset[str]) -> re.Pattern[str] | None:
    variants = {
        variant
        for secret in secrets
        if secret
        for variant in (
            secret,
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
            repr(secret)[1:-1],
            quote(secret, safe=""),
            base64.b64encode(secret.encode()).decode(),
        )
    }
    if not variants:
        return None
    return re.compile("|".join(re.escape(v) for v in sorted(variants, key=lambda v: (-len(v), v))))


def _mask(shown: Any, pattern: re.Pattern[str]) -> Any:
    if isinstance(shown, str):
        return pattern.sub(SHOWN_SECRET, shown)
    if isinstance(shown, list):
        return [_mask(item, pattern) for item in shown]
    if isinstance(shown, Mapping):
        return {_mask(key, pattern): _mask(item, pattern) for key, item in shown.items()}
    return shown
