from pathlib import Path

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_lambda as lambda_
from aws_cdk.aws_lambda_python_alpha import BundlingOptions, PythonLayerVersion
from constructs import Construct

BUILD = Path(__file__).parents[1] / ".build"


class OrdersStack(Stack):
    def __init__(self, scope: Construct, id_: str) -> None:
        super().__init__(scope, id_)
        self.layer = PythonLayerVersion(
            self,
            "CommonLayer",
            entry=str(BUILD / "common_layer"),
            compatible_runtimes=[lambda_.Runtime.PYTHON_3_13],
            removal_policy=RemovalPolicy.DESTROY,
            bundling=BundlingOptions(platform="linux/arm64"),
        )
        self.function("CreateOrder", "create_order")
        self.function("GetOrder", "get_order")

    def function(self, id_: str, module: str) -> lambda_.Function:
        return lambda_.Function(
            self,
            id_,
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            code=lambda_.Code.from_asset(str(BUILD / "lambdas")),
            handler=f"service.handlers.{module}.lambda_handler",
            layers=[self.layer],
            memory_size=512,
            timeout=Duration.seconds(10),
            tracing=lambda_.Tracing.ACTIVE,
        )
