"""
Find the known vulnerabilities of distributions in a database of advisories.

::

    releases ──find──▶ Vulnerabilities (one for each release and advisory, without withdrawn ones)
                ▲
            Advisories: the OSV service or a mirror, OSV's zip of all advisories, the package index, or Amazon Inspector
"""
