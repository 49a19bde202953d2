"""The commands ``atrion lab`` and ``atrion demo``, which the command line finds by entry point."""
