"""
Measure how long a function's initialisation lasts and which imports it consists of, and compare variants of the function.

::

    Subject, variants ──measure──▶ Measurement (times + Trace) ──attribute──▶ Share per distribution ──document──▶ JSON, table, chart

`variants` prepares the functions and their variants. `measure` starts them repeatedly in new processes, in random order. `guest.tracer`
records the imports inside such a process, and `trace` reads the tracer's report. `owners` assigns files to distributions, and
`attribution` adds up the import times of each distribution. `quantiles` decides whether a difference is significant. `thresholds`
compares times with limits. `table`, `page` and `chart` show the results. `observe` and `traffic` report cold starts of functions that
are deployed in AWS.

Compare local times only with other times from the same machine. Times in Lambda differ.
"""
