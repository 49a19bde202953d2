"""``atrion migrate``: rewrites programs that use other libraries, or Atrion's v1 style, with LibCST."""

__all__: list[str] = []
