"""An order service: handlers read events, logic decides, dal remembers, models say what is valid."""
