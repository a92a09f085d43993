"""Read service descriptions of the Serverless Framework."""
