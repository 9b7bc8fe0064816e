"""Pure array operations that models are made of."""
