"""Words of the lab: the glossary and the tour."""
