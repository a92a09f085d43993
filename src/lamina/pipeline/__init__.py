"""The one job: resolve, fetch, splice, pack, check, record."""
