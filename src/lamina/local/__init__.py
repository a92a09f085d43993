"""
Run handlers here as Lambda runs them: same layout, same client, same words for what goes wrong.

::

    Artifacts + Function ──prepare──▶ FunctionEnvironment ──ExecutionEnvironment.invoke──▶ InvocationResult
                                                          └─run_command──────────────────▶ CommandResult

`artifacts` reads what a build left, `unpack` unpacks it, `runtime_client` provides the runtime client, `environment` says what a process
sees, `process` starts one, `runtime_process` starts the runtime in it, `runtime_api` is what that talks to, `response` bounds what comes
back, `invoke` words the outcome, and `command` runs anything else in the same environment, with tools of the project's virtual environment.
"""
