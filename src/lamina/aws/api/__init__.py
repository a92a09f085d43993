"""AWS as protocols, and the boto3 adapters that implement them."""
