"""All runs: finding some, laying them over each other, what can be done with them."""
