"""Get the layers by ARN that lamina does not build: pin what they contain, and provide their zips."""
