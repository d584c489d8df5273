"""Is a technique as good as the library that does the same? Our recipe beside the library's own documented procedure.

`procedures` says what is compared, `libraries` holds each library's documented calls, `measuring` builds, scores and
times both as the board does, `table` says what came of it.
"""
