"""Questions with a right and a wrong chain of thought, and what builds, loads and verifies them."""
