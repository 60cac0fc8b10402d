"""Whatever can speak."""
