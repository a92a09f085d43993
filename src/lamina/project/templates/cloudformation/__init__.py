"""Read templates of SAM and CloudFormation."""
