"""Makes job specs true: watches files, runs containers, writes back what happened."""
