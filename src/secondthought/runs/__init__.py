"""Run folders: what is written into them, how it is read back, and who watches meanwhile."""
