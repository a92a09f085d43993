"""Publish what was built: plan from what AWS holds, then apply; `client` is the only module with a real client."""
