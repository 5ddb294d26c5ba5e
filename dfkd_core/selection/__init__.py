"""Which images are learned from: by the mixture over judged losses, or by what the teacher sees in collected ones."""
