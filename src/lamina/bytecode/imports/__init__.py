"""
Which modules of which distributions a service's handlers can import, found without running any of them.

::

    sources ──scan──▶ Scan ──index──▶ Index (kept in the store) ──resolve──▶ Reachable

Every source is read by an interpreter of the target's minor, so that the answer is the same on every machine.
What it cannot see, a recorded profile adds (`lamina coldstart --record`).
"""
