"""
Measure what a function's initialisation consists of, in fresh processes, and compare.

::

    Subject, variants ──measure──▶ Measurement (times + Trace) ──attribute──▶ Share per distribution ──document──▶ JSON, table, chart

`guest.tracer` watches from inside the process, `trace` reads what it said, `owners` knows whose file a file is, `attribution` adds up,
`measure` runs everything interleaved, `quantiles` says what a difference is worth, `variants` makes the other side of a comparison,
`thresholds` judges, `chart` draws. `observe` and `traffic` are about cold starts that AWS saw.

Times here are for comparing with each other on one machine; Lambda's are others.
"""
