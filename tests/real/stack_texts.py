"""Random values as a person could write them in a stack file, and as nobody would."""

import json
import random
from collections.abc import Iterator

# fmt: off
_WORDS = (
    "y", "yes", "No", "on", "off", "true", "True", "TRUE", "tRue", "null", "Null", "~", "nil", "none", "=", "a", "b:c",
    "x#", "x#y", "-x", "x:y", "<a>&b", "é", "日本", "<<x", ".5", ".", ".e5", "1..2", ".inf", ".NaN", "0.0", "1e400",
    "1e-400", "0b-11", "0o-7", "._5", "5_.5", "1__0",
)
# fmt: on
_TEXTS = ("a", "b", " ", "0", "1", ":", "#", "-", "?", ",", "[", "}", "&", "*", "|", ">", "'", '"', "%", "@", "`", "<")
_ODD_TEXTS = ("\\", "/", "\n", "\t", "\r", "\u2028", "\u2029", "\u0085", "\u00a0", "\U0001f600", "\x7f", "~", "=", "\b")
_ESCAPES = ("a", r"\n", r"\t", r"\/", r"\x41", r"\u2028", r"\e", r"\0", r"\_", r"\N", r"\"", r"\U0001F600", r"\q", "b")
_TAGS = ("!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", "!!binary", "!other", "!!set", "!")
_LARGE = (2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**53 + 1, 10**20, 10**21)


class StackTexts:
    """Draws values in YAML; the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)  # noqa: S311 - no secret is drawn

    def values(self, count: int) -> Iterator[str]:
        """What can stand behind the colon of a key that is indented by two, to the end of its last line."""
        for _ in range(count):
            yield self._block(4, 0)

    def _chance(self, part: float) -> bool:
        return self._draw.random() < part

    def _digits(self, least: int, most: int) -> str:
        return "".join(self._draw.choices("0123456789", k=self._draw.randint(least, most)))

    def _number(self) -> str:
        some = self._draw.choice
        sign = some(["", "", "-", "+"])
        return some(
            [
                sign + self._digits(1, 3),
                sign + self._digits(15, 24),
                f"{sign}{self._digits(0, 3)}.{self._digits(0, 4)}",
                f"{sign}{self._digits(1, 2)}{some(['e', 'E-', 'e+'])}{self._digits(1, 3)}",
                f"{sign}0{self._digits(1, 3)}",
                sign + some(["0x", "0X", "0b", "0o"]) + "".join(self._draw.choices("0123457afF_", k=3)),
                f"{sign}{self._digits(1, 3)}_{self._digits(1, 3)}",
                f"{self._digits(1, 2)}:{self._digits(2, 2)}",
                f"{sign}{some(_LARGE)}",
                repr(self._draw.uniform(-1, 1) * 10.0 ** self._draw.randint(-320, 308)),
            ]
        )

    def _moment(self) -> str:
        some = self._draw.choice
        date = f"{some(['2026', '0001', '2024', '20264'])}-{some(['1', '02', '13'])}-{some(['1', '31', '29', '0'])}"
        if self._chance(0.4):
            return date
        part = some(["", "", f".{self._digits(1, 12)}", f",{self._digits(1, 3)}"])
        time = f"{some(['1', '23', '24'])}:{some(['0', '59'])}:{some(['00', '59', '60'])}{part}"
        return f"{date}{some(['T', 't', ' ', '  '])}{time}{some(['', 'Z', 'z', '+00:00', '-11:07', '+05:45', ' +1'])}"

    def _quoted(self) -> str:
        text = "".join(self._draw.choices(_TEXTS + _ODD_TEXTS, k=self._draw.randint(0, 8)))
        return self._draw.choice(
            [
                json.dumps(text),
                json.dumps(text, ensure_ascii=False),
                "'" + text.replace("'", "''").replace("\n", " ").replace("\r", " ") + "'",
                '"' + "".join(self._draw.choices(_ESCAPES, k=self._draw.randint(0, 4))) + '"',
            ]
        )

    def _scalar(self) -> str:
        if self._chance(0.03):
            return "!!binary " + self._draw.choice(["aGVsbG8=", "/w==", "gICA", "4oI=", "YQ", "AAEC"])
        words = [self._number, self._moment, lambda: self._draw.choice(_WORDS), self._quoted]
        text = self._draw.choices(words, weights=[4, 2, 2, 4])[0]()
        return f"{self._draw.choice(_TAGS)} {text}" if self._chance(0.1) else text

    def _flow(self, depth: int) -> str:
        if depth > 2 or self._chance(0.55):
            return self._scalar()
        items = [self._flow(depth + 1) for _ in range(self._draw.randint(0, 3))]
        if self._chance(0.5):
            return "[" + ", ".join(items) + "]"
        if self._chance(0.1):
            return "{secure: v1:abc}"
        return "{" + ", ".join(f"{self._key(index)}: {item}" for index, item in enumerate(items)) + "}"

    def _key(self, index: int) -> str:
        return self._draw.choice(["<<", "a", self._scalar()]) if self._chance(0.25) else f"k{index}"

    def _block(self, indent: int, depth: int) -> str:
        margin, shape = " " * indent, self._draw.random()
        if depth > 2 or shape < 0.6:
            return f" {self._flow(depth)}\n"
        if shape < 0.75:
            return "\n" + "".join(f"{margin}-{self._block(indent + 2, depth + 1)}" for _ in range(2))
        if shape < 0.9:
            return "\n" + "".join(
                f"{margin}{self._key(index)}:{self._block(indent + 2, depth + 1)}" for index in range(3)
            )
        head = self._draw.choice("|>") + self._draw.choice(["", "-", "+"]) + self._draw.choice(["", "", "2"])
        lines = [
            margin + self._draw.choice(["", "  ", "\t", " "]) + self._draw.choice(["x", "y z", "- a", "k: v", ""])
            for _ in range(self._draw.randint(1, 4))
        ]
        return "\n".join([f" {head}", *lines, ""])
