"""The power flow of many copies in PyTorch, differentiable; the only part of the engines that imports torch."""
