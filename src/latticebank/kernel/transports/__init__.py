"""How a request reaches a service: in memory when it lives in this process, over HTTP when it lives elsewhere.

Both keep the same promises, which the same tests hold them to.
"""

from latticebank.kernel.transports.http import HttpTransport
from latticebank.kernel.transports.interface import (
    Headers,
    Request,
    Response,
    ResponseTooLarge,
    ServiceUnavailable,
    StreamedResponse,
    Transport,
)

__all__ = [
    "Headers",
    "HttpTransport",
    "Request",
    "Response",
    "ResponseTooLarge",
    "ServiceUnavailable",
    "StreamedResponse",
    "Transport",
]
