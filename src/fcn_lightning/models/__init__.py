"""The networks: plain PyTorch modules that can be used without the rest of the package."""
