"""Trained teachers: cards, loading, making, importing."""
