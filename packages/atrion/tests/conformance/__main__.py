"""Check every integration and print the table: ``python -m packages.atrion.tests.conformance``.

With ``--kills 10000``, kill so many calls of each guarded server at random points, and print what is left of them.
"""

import argparse
import logging

from packages.atrion.tests.conformance.incoming import Incoming
from packages.atrion.tests.conformance.kills import table
from packages.atrion.tests.conformance.table import SUBJECTS, printed

parser = argparse.ArgumentParser(prog="conformance", description=__doc__)
parser.add_argument("--kills", type=int, metavar="CALLS", help="calls of each guarded server to kill")
asked = parser.parse_args()
logging.disable(logging.CRITICAL)  # the services' errors are meant to be
if asked.kills is None:
    print(printed(), end="")  # it is what this program is for
else:
    for line in table([subject for subject in SUBJECTS if isinstance(subject, Incoming)], asked.kills):
        print(line, flush=True)
