"""`python -m paretoboard` is the command `paretoboard`."""

from paretoboard.cli import main

if __name__ == "__main__":
    main()
