"""The pages of the lab. ``app.py`` registers them."""
