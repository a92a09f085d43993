"""
Find the modules that a service's handlers can import, without running any of them.

::

    sources ──scan──▶ Scan ──index──▶ Index (kept in the store) ──resolve──▶ Reachable

An interpreter of the target's minor version reads every source, so the result is the same on every machine.
A recorded profile adds imports that are not visible in sources (`lamina coldstart --record`).
"""
