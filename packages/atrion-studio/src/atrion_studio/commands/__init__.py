"""The commands ``atrion studio`` and ``atrion top``."""
