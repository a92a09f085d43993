"""One module per Lambda function, each with its ``lambda_handler``."""
