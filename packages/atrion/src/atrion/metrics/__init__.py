"""What is measured: names and units, the reading of an engine, and what is made of them for dashboards and alerts."""
