"""``python -m atrion``: the ``atrion`` command."""

import sys

from atrion.cli import main

if __name__ == "__main__":
    sys.exit(main())
