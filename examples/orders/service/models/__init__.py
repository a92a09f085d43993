"""What orders and requests look like."""
