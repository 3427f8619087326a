"""Triton kernels of the log-projection, softmax and diffusion passes. Imported where they run only: no `triton` before.

`arithmetic` is the mathematics of one value, `launch` what every call does around its kernel; the rest is one module a
family: kernels, and beside each the function that plans its launch.
"""
