"""The team's store in a bucket, behind everybody's own."""
