"""What the pages share: starting the engine, the form, the stage."""
