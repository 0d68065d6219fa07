"""`python -m latticebank`: the same as the command `latticebank`."""

from latticebank.cli import main

if __name__ == "__main__":
    main()
