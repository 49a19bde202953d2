"""The demo: a real HTTP service beyond its capacity, and who sends to it, as processes of their own."""
