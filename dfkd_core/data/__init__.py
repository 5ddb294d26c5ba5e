"""Data sets with their image specification. Only ``runs``, ``teachers``, ``quality`` and ``analysis`` look inside."""
