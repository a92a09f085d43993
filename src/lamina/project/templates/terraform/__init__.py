"""Read configurations and plans of Terraform and OpenTofu."""
