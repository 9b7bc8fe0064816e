"""The studio: a page on this machine on which storyboards are drawn, rendered and measured.

The page (`page/`, plain modules) talks to a server that answers this machine alone (`app`), which
keeps everything in a folder (`workspace`) and has a process of its own render (`engine`, `worker`).
What a render is made of can be had from Python in as many lines: see `rendering`.
"""
