"""`python -m preview`: the command line."""

import gc

from preview.cli import main

if __name__ == "__main__":
    # Collecting garbage while SDKs load takes longer than loading them.
    gc.disable()
    main()
