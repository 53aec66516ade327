"""Policies with an analytic backward pass, as recorded graphs."""
