"""`python -m latticebank.verify`: the same as `latticebank verify`, without the rest of the bank."""

import sys

from latticebank.verify.command import main

if __name__ == "__main__":
    try:
        sys.exit(main())
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(130)
