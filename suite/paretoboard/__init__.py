"""paretoboard: which optimization pays off for my model on my hardware, and is the gain real?"""

__version__ = "0.1.0"
