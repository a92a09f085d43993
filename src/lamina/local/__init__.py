"""
Run handlers here as Lambda runs them: same layout, same client, same words for what goes wrong.

::

    Artifacts + Function ──prepare──▶ World ──Session.invoke──▶ InvocationResult
                                            └─initialise──────▶ Initialised   (for whoever measures)
                                            └─run_command─────▶ exit status

`artifacts` reads what a build left, `tree` unpacks it, `client` provides the runtime client, `world` says what a process sees,
`process` starts one, `runtime_api` is what it talks to, `invoke` words the outcome, `command` runs anything else in the same world.
"""
