"""The form: what a run is asked for."""
