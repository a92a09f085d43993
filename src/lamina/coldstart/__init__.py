"""
Measure how long a function's initialisation lasts and which imports it consists of, and compare variants of the function.

::

    Subject, variants ──measure──▶ Measurement (times + Trace) ──attribute──▶ Share per distribution ──document──▶ JSON, table, chart

`guest.tracer` records imports inside the function's process, and `trace` reads its report. `owners` assigns files to distributions, and
`attribution` adds up the import times of each distribution. `measure` runs all variants interleaved in new processes, and `variants`
prepares them. `quantiles` decides whether a difference is significant. `thresholds` compares times with limits. `table`, `page` and
`chart` show the results. `observe` and `traffic` report cold starts of functions that are deployed in AWS.

Local times can be compared with each other on one machine. Times in Lambda differ from them.
"""
