"""Rules for nights beside each other, on histories whose truth is known.

Every rule is asked night after night as it would have been in use: it sees what lies before, never what comes after.
"""
