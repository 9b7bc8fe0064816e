"""The experiments behind the figures: `python -m studies.NAME`, from the top of the repository.

They use the package as anyone would, and are not part of it. Charts need matplotlib:
`pip install -e '.[studies]'`.
"""
