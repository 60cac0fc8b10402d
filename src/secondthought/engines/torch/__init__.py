"""A model of this process, sampled in batches that share prefixes."""
