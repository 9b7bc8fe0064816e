"""The networks: Linen modules, each with its sizes in a frozen dataclass."""
