"""
The CDK app of the service, which deploys one stage: ``cdk deploy --context stage=production``.

The default stage is ``dev``.
"""

import aws_cdk as cdk

from infrastructure.stack import OrdersStack

app = cdk.App()
stage = app.node.try_get_context("stage") or "dev"
OrdersStack(app, f"orders-{stage}")
app.synth()
