"""The typed keyword arguments of CDK's ``Function`` that lamina does not set itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import aws_cdk
    from aws_cdk import aws_codeguruprofiler, aws_ec2, aws_iam, aws_lambda, aws_logs, aws_sns, aws_sqs
    from aws_cdk.interfaces import aws_kms as kms_references
    from aws_cdk.interfaces import aws_lambda as lambda_references
    from aws_cdk.interfaces import aws_logs as logs_references


class FunctionKeywords(TypedDict, total=False):
    """
    Keyword arguments documented for ``aws_cdk.aws_lambda.Function`` (aws-cdk-lib 2.275, 2026-11).

    An older aws-cdk-lib rejects arguments that it does not support.
    """

    max_event_age: aws_cdk.Duration | None
    on_failure: aws_lambda.IDestination | None
    on_success: aws_lambda.IDestination | None
    retry_attempts: float | None
    adot_instrumentation: aws_lambda.AdotInstrumentationConfig | dict[str, object] | None
    allow_all_ipv6_outbound: bool | None
    allow_all_outbound: bool | None
    allow_public_subnet: bool | None
    application_log_level: str | None
    application_log_level_v2: aws_lambda.ApplicationLogLevel | None
    code_signing_config: lambda_references.ICodeSigningConfigRef | None
    current_version_options: aws_lambda.VersionOptions | dict[str, object] | None
    dead_letter_queue: aws_sqs.IQueue | None
    dead_letter_queue_enabled: bool | None
    dead_letter_topic: aws_sns.ITopic | None
    description: str | None
    durable_config: aws_lambda.DurableConfig | dict[str, object] | None
    environment: Mapping[str, str] | None
    environment_encryption: kms_references.IKeyRef | None
    ephemeral_storage_size: aws_cdk.Size | None
    events: Sequence[aws_lambda.IEventSource] | None
    filesystem: aws_lambda.FileSystem | None
    function_name: str | None
    initial_policy: Sequence[aws_iam.PolicyStatement] | None
    insights_version: aws_lambda.LambdaInsightsVersion | None
    ipv6_allowed_for_dual_stack: bool | None
    log_format: str | None
    logging_format: aws_lambda.LoggingFormat | None
    log_group: logs_references.ILogGroupRef | None
    log_removal_policy: aws_cdk.RemovalPolicy | None
    log_retention: aws_logs.RetentionDays | None
    log_retention_retry_options: aws_lambda.LogRetentionRetryOptions | dict[str, object] | None
    log_retention_role: aws_iam.IRole | None
    memory_size: float | None
    params_and_secrets: aws_lambda.ParamsAndSecretsLayerVersion | None
    profiling: bool | None
    profiling_group: aws_codeguruprofiler.IProfilingGroup | None
    recursive_loop: aws_lambda.RecursiveLoop | None
    reserved_concurrent_executions: float | None
    role: aws_iam.IRole | None
    runtime_management_mode: aws_lambda.RuntimeManagementMode | None
    security_groups: Sequence[aws_ec2.ISecurityGroup] | None
    snap_start: aws_lambda.SnapStartConf | None
    system_log_level: str | None
    system_log_level_v2: aws_lambda.SystemLogLevel | None
    tenancy_config: aws_lambda.TenancyConfig | None
    timeout: aws_cdk.Duration | None
    tracing: aws_lambda.Tracing | None
    vpc: aws_ec2.IVpc | None
    vpc_subnets: aws_ec2.SubnetSelection | dict[str, object] | None
