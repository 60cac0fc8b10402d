"""Skills as text: what a frozen model learns from a context by playing against itself (Ctx2Skill)."""
