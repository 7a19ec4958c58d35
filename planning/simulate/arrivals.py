"""Who asks, when, and for how much."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One request: seconds since the start, tokens of the question and of the answer, at least one each."""

    at: float
    input_tokens: int
    output_tokens: int

    @property
    def tokens(self) -> int:
        """Question and answer together."""
        return self.input_tokens + self.output_tokens
