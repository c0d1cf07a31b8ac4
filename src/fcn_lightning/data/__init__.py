"""Data sets, the steps that turn a file into a training sample, and their loaders."""
