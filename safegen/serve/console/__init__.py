"""The auditor's console: a small, read-only web app over a ledger.

Invariants: the ledger is opened read-only and no private key is read; the console answers to its own host name alone,
to whoever logged in with its token, and asks nothing of any other host; what a record holds is shown and never run;
images come from a folder that was named, by their digest, blurred until asked for.
"""
