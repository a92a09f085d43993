"""Choose and compile the modules of a layer: follow imports, select modules, and run the target's interpreter."""
