"""`python -m preview`: the command line."""

import gc

from preview.children import Child

if __name__ == "__main__":
    # Collecting garbage while SDKs load takes longer than loading them.
    gc.disable()
    # A child starts to load the SDK at once, in case it is wanted: most calls preview one stack.
    child = Child()

    from preview.cli import main

    main(prepared=child)
