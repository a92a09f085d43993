"""An order service: handlers read events, logic decides, dal stores orders, and models validate them."""
