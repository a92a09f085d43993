"""Run handlers on this machine as Lambda would: the Runtime API, the layout, the limits."""
