"""The demo: a real HTTP service above its capacity and a load generator, each in processes of their own."""
