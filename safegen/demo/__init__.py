"""The demonstration: a dozen prompts, the bare model beside safegen, and the ledger verified at the end."""
