"""Where orders are kept and whom the service tells about them."""
