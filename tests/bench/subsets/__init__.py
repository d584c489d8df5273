"""How often a subset of ImageNet's validation images ranks two models wrongly, and what our verdicts make of it.

The published answers of twelve models on all 50,000 images say which of two is better. Subsets are drawn again and
again, and each pair of models is judged on each as a board judges two recipes: without knowing the rest.

`studying` draws and judges, `table` says what came of it.
"""
