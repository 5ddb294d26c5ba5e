"""The published loss terms as pure functions, one module for each kind of network."""
