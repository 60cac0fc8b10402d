"""Several processes: of one machine or of a Ray cluster, as one training or side by side."""
