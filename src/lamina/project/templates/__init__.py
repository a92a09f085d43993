"""Read what deploy descriptions say about a service: SAM, CloudFormation, serverless.yml, Terraform and the CDK."""
