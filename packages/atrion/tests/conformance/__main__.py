"""Check every integration and print the table: ``python -m packages.atrion.tests.conformance``."""

import logging

from packages.atrion.tests.conformance.table import printed

logging.disable(logging.CRITICAL)  # the services' errors are meant to be
print(printed(), end="")  # it is what this program is for
