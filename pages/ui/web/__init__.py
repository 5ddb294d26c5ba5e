"""What the views in the browser share, and what brings them there."""
