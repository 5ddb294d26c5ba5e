"""How good generated images are, and how good a student is, by networks that had no part in making either."""
