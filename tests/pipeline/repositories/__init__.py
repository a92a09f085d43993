"""Small repositories of many shapes, one module for each tool, and what `lamina init` proposes for them."""
