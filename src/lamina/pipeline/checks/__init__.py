"""Rules, one module per family: finished things in, findings out; nothing here raises."""
