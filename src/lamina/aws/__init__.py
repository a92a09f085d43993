"""Publish, deploy and prune on AWS: plan from the current state, then apply. Only `lamina.aws.api.session` creates real clients."""
