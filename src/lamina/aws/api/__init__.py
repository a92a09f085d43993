"""Protocols for the AWS operations that lamina uses, and the boto3 adapters that implement them."""
