"""Read the output of ``cdk synth``, and guess from the sources of a CDK app."""
