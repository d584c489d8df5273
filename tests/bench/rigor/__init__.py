"""How far a verdict can be trusted here: protocol ab1 and the rules in common use, on planted slowdowns.

`plan` says what is compared, `kernels` does the work, `load` disturbs it, `ours` and `others` time it, `recordings`
keeps every call, `judging` says what each rule makes of it, `table` counts, `cost` says what measuring costs.
"""
