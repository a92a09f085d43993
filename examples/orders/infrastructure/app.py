"""One deployment of the service: ``cdk deploy --context stage=production``; it is called ``dev`` if nobody says."""

import aws_cdk as cdk

from infrastructure.stack import OrdersStack

app = cdk.App()
stage = app.node.try_get_context("stage") or "dev"
OrdersStack(app, f"orders-{stage}")
app.synth()
