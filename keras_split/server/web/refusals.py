"""How HTTP says that a request has no reply."""

import json

from keras_split.errors import RefusedError
from keras_split.errors import SplitError
from keras_split.protocol.reasons import METADATA_KEY

# Status and Connect's code of each reason for which an endpoint refuses.
_REASONS = {
    "busy": (503, "unavailable"),
    "permission": (403, "permission_denied"),
    "size": (413, "resource_exhausted"),
    "unauthenticated": (401, "unauthenticated"),
    "unimplemented": (501, "unimplemented"),
}
_CODES = {
    400: "invalid_argument",
    401: "unauthenticated",
    403: "permission_denied",
    404: "not_found",
    405: "unimplemented",
    408: "deadline_exceeded",
    410: "failed_precondition",
    411: "invalid_argument",
    413: "resource_exhausted",
    415: "invalid_argument",
    421: "permission_denied",
    501: "unimplemented",
    503: "unavailable",
}


class HttpError(SplitError):
    """Ends a request with a status.

    Args:
        status: Of HTTP.
        text: What is wrong, for people.
        reason: One of `keras_split.protocol.reasons`, if one fits.
        **headers: More headers, with `_` for `-`.

    Attributes:
        status: The same.
        code: What Connect calls it.
        headers: Those that go with it.
    """

    def __init__(
        self, status: int, text: str, reason: str = "", **headers: str
    ) -> None:
        super().__init__(text)
        self.status = status
        self.code = _CODES.get(status, "internal")
        self.headers = [
            (name.replace("_", "-"), value) for name, value in headers.items()
        ]
        if reason:
            self.headers.append((METADATA_KEY, reason))
        if status == 401:
            self.headers.append(("www-authenticate", "Bearer"))

    @classmethod
    def of(cls, error: RefusedError) -> "HttpError":
        """What an endpoint refuses, in words of HTTP."""
        status, code = _REASONS.get(error.reason, (400, "failed_precondition"))
        made = cls(status, str(error), error.reason)
        made.code = code
        return made

    @property
    def body(self) -> bytes:
        """What Connect wants to read of it."""
        return json.dumps({"code": self.code, "message": str(self)}).encode()
