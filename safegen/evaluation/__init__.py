"""Measures what the base draws and what an SPM erases, with a judge that neither of them has seen."""
