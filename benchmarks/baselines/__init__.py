"""Other methods of concept erasure, small and faithful to their papers, on the same base, prompts, budget and judge."""
