"""Bring one revision of a repository on Hugging Face into a folder, and say so there at the very end.

A Job runs it, in an engine's image: of all that is there it uses huggingface_hub, nothing of this project. It may be
ended at any moment and begun again: a file that is there in its whole size is not fetched again, and a marker that is
there ends it at once. Files go over a disk, because the hub's client writes out of order and appends, which Cloud
Storage FUSE does only by way of a disk; from there they are copied from the first byte to the last.

What it fetches is what TGI and vLLM read at the top of a repository: a folder in it is another form of the same model.

Raises what the hub's client raises, OSError for a file that arrived in another size, SystemExit for a repository
without weights that engines read from a folder which they cannot write to.
"""

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

WEIGHTS = ".safetensors"
KEPT = (WEIGHTS, ".jinja", ".json", ".model", ".py", ".tiktoken", ".txt")
AT_ONCE = 4
PIECE = 16 * 2**20


def main(repository: str, revision: str, scratch: str, target: str, marker: str) -> None:
    """Bring the revision from the hub over `scratch` to `target`, then write `marker`."""
    if Path(marker).exists():
        say(f"{repository} at {revision} is there already")
        return
    # Not before it is needed: a Job that has nothing to do needs no hub.
    from huggingface_hub import HfApi, hf_hub_download  # noqa: PLC0415

    siblings = HfApi().model_info(repository, revision=revision, files_metadata=True).siblings or []
    sizes = {s.rfilename: s.size for s in siblings if "/" not in s.rfilename and s.rfilename.endswith(KEPT)}
    if not any(name.endswith(WEIGHTS) for name in sizes):
        raise SystemExit(f"{repository} at {revision} has no *{WEIGHTS}: set weightsFrom to hub")
    Path(target).mkdir(parents=True, exist_ok=True)

    def bring(name: str) -> int:
        there = Path(target, name)
        if sizes[name] is not None and size_of(there) == sizes[name]:
            say(f"{name} is there already")
            return size_of(there)
        fetched = Path(hf_hub_download(repository, name, revision=revision, local_dir=scratch))
        # A new object: one that is written over has to be fetched first.
        there.unlink(missing_ok=True)
        with fetched.open("rb") as source, there.open("wb") as copy:
            shutil.copyfileobj(source, copy, PIECE)
        size = size_of(fetched)
        if size_of(there) != size or sizes[name] not in (None, size):
            raise OSError(f"{name} is {size_of(there)} bytes here, {size} on the way and {sizes[name]} on the hub")
        fetched.unlink()
        say(f"{name} is there, {size / 1e9:.1f} GB")
        return size

    with ThreadPoolExecutor(AT_ONCE) as pool:
        brought = dict(zip(sizes, pool.map(bring, sizes), strict=True))
    Path(marker).write_text(json.dumps({"repository": repository, "revision": revision, "bytes": brought}))
    say(f"{repository} at {revision} is whole, {sum(brought.values()) / 1e9:.1f} GB")


def size_of(path: Path) -> int:
    """Count the bytes of a file; -1 where there is none."""
    return path.stat().st_size if path.is_file() else -1


def say(line: str) -> None:
    """Write a line to the log at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
