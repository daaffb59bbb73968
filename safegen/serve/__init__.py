"""What is served over HTTP: the auditor's console.

Invariants: serving stands beside the command line, above everything else; nothing below it knows that it exists.
"""
