"""What a method stands on: its contract, its knobs, what it records, the stages that methods share."""
