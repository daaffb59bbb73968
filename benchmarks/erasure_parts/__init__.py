"""The parts of `erasure.py`, one a row of its table; each runs alone and goes on where a killed run was."""
