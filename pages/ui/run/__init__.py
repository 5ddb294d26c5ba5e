"""One run on a page: its stage, and the buttons that steer it."""
