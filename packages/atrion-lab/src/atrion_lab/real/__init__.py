"""The lab's traffic over real HTTP, to real processes."""
