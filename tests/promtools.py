"""Prometheus' own tool, in each major version that is here: the rules have to mean the same to all of them.

Since 3.0 a range is open on its left: a sample exactly as old as the range is long is not in it any more.
https://prometheus.io/docs/prometheus/latest/migration/#range-selectors-and-lookback-exclude-samples-coinciding-with-the-left-boundary
"""

import os
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

HOW: Final = {
    2: "Debian 12's and Ubuntu's `prometheus` has it",
    3: 'go install -ldflags "-X github.com/prometheus/common/version.Version=3.14.0" '
    "github.com/prometheus/prometheus/cmd/promtool@v0.314.0, and call it promtool3",
}
"""The major versions, and how to get each of them: the stack runs 3.14, whose Go module is 0.314."""


@cache
def found() -> dict[int, Path]:
    """The first of each major version on PATH, of all that are called promtool or promtool and a number."""
    versions: dict[int, Path] = {}
    for folder in filter(None, os.environ["PATH"].split(os.pathsep)):
        for file in sorted(Path(folder).glob("promtool*")):
            named = re.fullmatch(r"promtool-?(\d*)[\d.]*", file.name)
            if not named or not os.access(file, os.X_OK):
                continue
            said = subprocess.run([file, "--version"], capture_output=True, text=True, check=False)
            # One that was built from the module alone does not know its own.
            version = re.search(r"version v?(\d+)\.", said.stdout + said.stderr)
            if major := version[1] if version else named[1]:
                versions.setdefault(int(major), file)
    return versions
