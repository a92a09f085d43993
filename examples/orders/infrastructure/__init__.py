"""What the service needs in AWS, as a CDK app; nothing here is shipped with a function."""
