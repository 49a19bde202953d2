"""Check every integration and print the table: ``python -m packages.atrion.tests.conformance``.

With ``--kills 10000``, kill so many calls of each guarded server at random points, and print what is left of them.
With ``--load``, drive the servers named (all without a name) at four times their capacity, and print what clients saw.
"""

import argparse
import logging

from packages.atrion.tests.conformance.kills import table
from packages.atrion.tests.conformance.load import SERVERS
from packages.atrion.tests.conformance.load import table as load_table
from packages.atrion.tests.conformance.table import printed

parser = argparse.ArgumentParser(prog="conformance", description=__doc__)
parser.add_argument("--kills", type=int, metavar="CALLS", help="calls of each guarded server to kill")
parser.add_argument(
    "--load",
    nargs="*",
    metavar="NAME",
    choices=[service.title for service in SERVERS],
    help="servers to drive: %(choices)s",
)
asked = parser.parse_args()
logging.disable(logging.CRITICAL)  # the services' errors are meant to be
if asked.load is not None:
    lines = load_table(service for service in SERVERS if not asked.load or service.title in asked.load)
elif asked.kills is not None:
    lines = table(SERVERS, asked.kills)
else:
    lines = iter(printed().splitlines())
for line in lines:
    print(line, flush=True)  # it is what this program is for
