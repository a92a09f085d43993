"""
Compare lamina with the tools it replaces, by ratios within one run: ``python -m benchmarks``.

Wall times differ between machines. So each row runs once per repeat, in a new random order, and each ratio compares two rows of the
*same* repeat. The median of these ratios is compared with the budget. Each group of rows is a module in `benchmarks.rows`.
"""
