"""A stack of ten functions with one layer, a table, a bucket, and as triggers an HTTP API, a stream and a schedule."""

from pathlib import Path

from aws_cdk import CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as sources
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk.aws_apigatewayv2_integrations import HttpLambdaIntegration
from constructs import Construct
from lamina.cdk import PythonFunction, PythonLayerVersion, live_alias

ROOT = Path(__file__).parent.parent
ROUTES = {
    "create-order": ("POST", "/orders"),
    "get-order": ("GET", "/orders/{id}"),
    "list-orders": ("GET", "/orders"),
    "cancel-order": ("DELETE", "/orders/{id}"),
    "pay-order": ("POST", "/orders/{id}/payments"),
    "refund-order": ("POST", "/orders/{id}/refunds"),
    "render-invoice": ("GET", "/orders/{id}/invoice"),
    "health": ("GET", "/health"),
}
READERS = {"get-order", "list-orders", "render-invoice", "export-report"}
WRITERS = {"create-order", "cancel-order", "pay-order", "refund-order"}
PUBLISHERS = WRITERS | {"process-stream"}


class OrdersStack(Stack):
    def __init__(self, scope: Construct, construct_id: str, **options: object) -> None:
        super().__init__(scope, construct_id, **options)
        self.table = self._table()
        self.bus = events.EventBus(self, "bus")
        self.reports = s3.Bucket(
            self, "reports", block_public_access=s3.BlockPublicAccess.BLOCK_ALL, enforce_ssl=True, versioned=True
        )
        # One layer for all functions. Changing the lock file uploads it again; changing code does so only if
        # new imports need bytecode.
        self.layer = PythonLayerVersion(self, "dependencies", entry=str(ROOT))
        self.aliases = {name: live_alias(self._function(name)) for name in (*ROUTES, "export-report", "process-stream")}
        self._api()
        self._triggers()

    def _table(self) -> dynamodb.Table:
        table = dynamodb.Table(
            self,
            "orders",
            partition_key=dynamodb.Attribute(name="id", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            stream=dynamodb.StreamViewType.NEW_IMAGE,
        )
        table.add_global_secondary_index(
            index_name="by-customer",
            partition_key=dynamodb.Attribute(name="customer", type=dynamodb.AttributeType.STRING),
        )
        return table

    def _function(self, name: str) -> PythonFunction:
        """Create a function with only the permissions and environment variables that its code needs."""
        variables = {"POWERTOOLS_SERVICE_NAME": "orders"}
        if name in READERS | WRITERS:
            variables["ORDERS_TABLE"] = self.table.table_name
        if name in PUBLISHERS:
            variables["EVENT_BUS"] = self.bus.event_bus_name
        if name == "export-report":
            variables["REPORT_BUCKET"] = self.reports.bucket_name
        function = PythonFunction(
            self,
            name,
            entry=str(ROOT),
            function=name,
            layers=[self.layer],
            memory_size=1024 if name == "export-report" else 512,
            timeout=Duration.minutes(1) if name == "export-report" else Duration.seconds(15),
            tracing=lambda_.Tracing.ACTIVE,
            environment=variables,
            log_group=logs.LogGroup(
                self, f"{name}-logs", retention=logs.RetentionDays.ONE_MONTH, removal_policy=RemovalPolicy.DESTROY
            ),
        )
        if name in READERS:
            self.table.grant_read_data(function)
        if name in WRITERS:
            self.table.grant_read_write_data(function)
        if name in PUBLISHERS:
            self.bus.grant_put_events_to(function)
        if name == "export-report":
            self.reports.grant_put(function)
        return function

    def _api(self) -> None:
        api = apigateway.HttpApi(self, "api")
        for name, (method, path) in ROUTES.items():
            api.add_routes(
                path=path,
                methods=[apigateway.HttpMethod[method]],
                integration=HttpLambdaIntegration(f"{name}-integration", self.aliases[name]),
            )
        CfnOutput(self, "url", value=api.api_endpoint)

    def _triggers(self) -> None:
        self.aliases["process-stream"].add_event_source(
            sources.DynamoEventSource(
                self.table,
                starting_position=lambda_.StartingPosition.LATEST,
                report_batch_item_failures=True,
                bisect_batch_on_error=True,
                retry_attempts=5,
            )
        )
        events.Rule(
            self,
            "every-night",
            schedule=events.Schedule.cron(hour="2", minute="0"),
            targets=[targets.LambdaFunction(self.aliases["export-report"])],
        )
