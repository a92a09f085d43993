"""A CDK app with the service's AWS resources. It is not part of the function packages."""
