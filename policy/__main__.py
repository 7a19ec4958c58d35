"""The pack's entry. The engine starts it in this folder, with this folder on the path and not the project's."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from pulumi_policy import PolicyPack

from policy.pack import policies

PolicyPack("llmserve", policies=policies())
