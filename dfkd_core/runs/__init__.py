"""One run: what determines it, how it is put together, how it goes."""
