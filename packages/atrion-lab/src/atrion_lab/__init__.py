"""The lab: simulated services, traffic and clusters that drive the real engine, and what it is compared with."""

import logging

# Simulated routes break and shed by the thousand, and what the lab prints tells of it.
logging.getLogger("atrion.routes").setLevel(logging.ERROR)
logging.getLogger("atrion.leases").setLevel(logging.ERROR)
