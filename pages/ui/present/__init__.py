"""A lesson that is given: a script, its stops, and what stands beside them."""
