"""Training that does not depend on how many processes take part."""
