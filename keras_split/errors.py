"""The errors of keras_split.

    SplitError
    ├── BackendError (ImportError)      Keras, TensorFlow or an extra is missing
    ├── CutError (ValueError)           the model cannot be cut there
    ├── QuantizationError (ValueError)  no such rule, or it cannot hold a tensor
    ├── DefenseError (ValueError)       no such defense, or it does not fit
    ├── CodecError (ValueError)         no such codec, or bytes it cannot decode
    ├── DataError (ValueError)          images, labels, files of no use
    ├── ZooError (ValueError)           no such preset, or options it forbids
    ├── ExportError (ValueError)        the half cannot become a LiteRT file
    ├── OptionError (TypeError, ValueError)  no such option, or not that value
    ├── ProtocolError (ValueError)      a message the other party must not send
    │   ├── RefusedError                the server refused a message of ours
    │   ├── PartialCommitError          the body took a step, head and tail not
    │   └── HijackError                 gradients that are not of the features
    └── TransportError (ConnectionError)  the other party cannot be reached

Every message says what was expected, what came, and what to do next. A
`ProtocolError` carries a `reason`, one word a program can test for; it
travels to the other side, where it is raised as a `RefusedError`.
"""


class SplitError(Exception):
    """The root of every error that keras_split raises on purpose."""


class BackendError(SplitError, ImportError):
    """A package, an extra or the right Keras backend is missing."""


class CutError(SplitError, ValueError):
    """The model cannot be cut there."""


class QuantizationError(SplitError, ValueError):
    """There is no such quantization, or a tensor does not fit it."""


class DefenseError(SplitError, ValueError):
    """There is no such defense, or it does not do what one must."""


class CodecError(SplitError, ValueError):
    """There is no such codec, or its bytes cannot be decoded."""


class DataError(SplitError, ValueError):
    """Images, labels or files that cannot be trained on."""


class ZooError(SplitError, ValueError):
    """There is no such preset, or it does not allow these options."""


class ExportError(SplitError, ValueError):
    """The phone's half cannot become a LiteRT file."""


class OptionError(SplitError, TypeError, ValueError):
    """There is no such option, or it cannot have that value."""


class ProtocolError(SplitError, ValueError):
    """A message that does not follow the protocol.

    Attributes:
        reason: One word for programs, such as `"fingerprint"` or `"shape"`.
    """

    def __init__(self, message: str, reason: str = "protocol") -> None:
        super().__init__(message)
        self.reason = reason


class RefusedError(ProtocolError):
    """The server read our message and refused it; its state is unchanged."""


class PartialCommitError(ProtocolError):
    """The body took a step that head and tail could not."""


class HijackError(ProtocolError):
    """The server's gradients are not those of the features that it sent."""


class TransportError(SplitError, ConnectionError):
    """The other party cannot be reached, or went away in mid-step."""
