"""Calls that begin with stored images: read, decoded, resized and normalized in the call, before the model.

What a session is given is still images as the model sees them. `prepare`, which nobody times, finds the pixels that
they were made of and writes them to files; `run`, which is timed, begins with these files. So a recipe with an input
pipeline is scored, timed, probed and repeated like every other, and what it does to answers shows in its quality.
"""
