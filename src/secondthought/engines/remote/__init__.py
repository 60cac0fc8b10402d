"""Models behind an address: servers of ours, vLLM servers, and OpenAI-compatible endpoints."""
