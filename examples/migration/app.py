import aws_cdk

from cdk.stack import OrdersStack

app = aws_cdk.App()
OrdersStack(app, "Orders")
app.synth()
