"""Write one self-contained HTML page about a service: what its zips contain, what deploys send, and what was found."""
