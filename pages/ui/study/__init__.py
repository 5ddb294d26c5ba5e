"""Studies on a page: settings, buttons, charts, tables."""
