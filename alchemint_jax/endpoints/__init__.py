"""Servers that speak the OpenAI protocol: one question, one answer that can be used, or an error.

Whatever a server does (it is slow, full, redirects, answers nonsense) ends as a value or an
`EndpointError`. The key is read from the environment ($OPENAI_API_KEY) and is in no message and no
file.
"""

from alchemint_jax.endpoints.answers import Answers
from alchemint_jax.endpoints.chat import ChatClient
from alchemint_jax.endpoints.painter import PictureClient
from alchemint_jax.endpoints.transport import EndpointError, Fuse, Server

__all__ = ["Answers", "ChatClient", "EndpointError", "Fuse", "PictureClient", "Server"]
