"""How fast we are, beside others, in one process; ``python -m benchmarks``, or ``make bench``."""
