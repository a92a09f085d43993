"""
Compare the ways to package a service, by the sizes of its own distributions, and recommend one with reasons.

::

    Service ──needs──▶ Needs ──layouts──▶ Layout ──weigh──▶ Weights ──recommend──▶ Recommendation
                         └──────split──────▶ Split
"""
