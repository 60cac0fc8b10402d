"""How one task becomes a group of episodes."""
