"""Read what zips contain, and write it down: distributions, licences, and the SBOM."""
