"""Published figures made again: from the authors' own result tables where they exist, from our models where they do not."""
