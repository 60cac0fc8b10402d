"""From a name to a model: weights, tokenizer, and how it renders conversations."""
