"""Who is paid for what came of it."""
