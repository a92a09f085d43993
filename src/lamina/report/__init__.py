"""Write one self-contained HTML page about a service: its zips, what deploys send, and the findings."""
