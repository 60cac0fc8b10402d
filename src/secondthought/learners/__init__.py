"""Whatever can learn."""
