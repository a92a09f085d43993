"""
Measure lamina beside the tools it stands in for, as ratios within one run: ``python -m benchmarks``.

Wall times of one machine say little about another.
So every row is run once per repeat, in an order drawn anew each time, and what is judged is the quotient of two rows
of the *same* repeat; the median of those quotients is compared with the budget.
A group of rows is a module in `benchmarks.rows`.
"""
