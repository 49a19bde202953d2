"""The lab: simulated services, traffic and clusters that drive the real engine, and what it is compared with."""
