"""Attacks on erasure: what an attacker who holds the weights can bring back through gate and membranes.

Every attack runs with the gate in the loop: a guess is judged, step by step, with the membranes exactly as far open as
the gate opens them for that guess. Success is the independent judge's word on the picture that is drawn in the end.
"""
