"""The stages of annotation, a file each."""
