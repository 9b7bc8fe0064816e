"""Tensor names and configurations of the formats that other projects write."""
