"""Safe text-to-image generation."""
