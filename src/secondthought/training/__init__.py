"""Training: the recipe, its stages, the loop, and what is made before it."""
