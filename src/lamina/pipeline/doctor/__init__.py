"""Find out what a build uses on this machine, for `lamina doctor`. Nothing is changed, and the network is not used."""
