"""Reading runs in the browser: curves, episodes, tokens and what they were paid."""
