"""The server's end of HTTP: a port for browsers before the same endpoint.

| | | who |
| --- | --- | --- |
| `POST /keras_split.v1.SplitTraining/Exchange` | Connect, unary | phones |
| `POST /keras_split.v1.SplitTraining/Status` | the same | operator |
| `GET /client.tflite`, `/client.json` | the phone's half | phones |
| `POST /join` | `{"code": ...}` to `{"name": ..., "token": ...}` | all |
| `POST /invite` | to `{"code": ..., "url": ..., "seconds": ...}` | operator |
| `POST /revoke` | `{"name": ...}` to `{}` | operator |
| `GET /`, `/dashboard`, `/assets/...`, `/wasm/...` | the page | all |

Phones and operators show a token as `Authorization: Bearer TOKEN`, if the
server asks for any. What is refused comes with a status and, as Connect
wants it, with `{"code": ..., "message": ...}`; the header
`keras-split-reason` has one of `keras_split.protocol.reasons`.

Before a front (`keras_split.server.front`) there are the dashboard and
`Status`; what phones ask for is `unimplemented`.
"""
