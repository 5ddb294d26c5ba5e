"""How good generated images are, and how good a student is, by networks that had no part in making either."""

DENSITY_NEIGHBOURS, PRECISION_NEIGHBOURS = 5, 3  # as published
LEAST = DENSITY_NEIGHBOURS + 1  # images of either kind
