"""
Run handlers locally as Lambda runs them: with the same directories, the same runtime client and the same error messages.

::

    Artifacts + Function ──prepare──▶ FunctionEnvironment ──ExecutionEnvironment.invoke──▶ InvocationResult
                                                          └─run_command──────────────────▶ CommandResult

`artifacts` reads the last build, and `unpack` unpacks its zips. `runtime_client` provides Lambda's Python runtime client.
`environment` describes the directories and environment variables of a function's process. `process` starts a program, and
`runtime_process` starts the runtime client. `runtime_api` serves the Runtime API to the client, and `response` limits the size of a response.
`invoke` sends events and formats the results. `command` runs any other command in the same environment, optionally with
development tools from the project's virtual environment. `guest` contains the modules that run in other processes, and `sandbox` emulates AWS.
"""
