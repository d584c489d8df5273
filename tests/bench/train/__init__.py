"""How fast the trainer is beside a bare loop.

A bare loop does forward, cross-entropy, backward and step on one batch that is never changed. The trainer does all that
it does in a build: order, augmentation, preprocessing, schedule, a teacher, progress, checkpoints. Both do the same
steps in turn in one process, held as a build is held, so that neighbours on the machine slow both.

`measuring` times them, `table` says what came of it.
"""
