"""What runs inside a function's process while it is measured: plain Python from 3.9 on, which imports nothing that a handler could."""
