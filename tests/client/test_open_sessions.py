import weakref

from keras_split.client import open_sessions


class Session:
    closed = False

    def close(self):
        self.closed = True


def test_what_is_open_is_closed_when_the_process_ends(monkeypatch):
    monkeypatch.setattr(open_sessions, "_OPEN", weakref.WeakSet())
    stays, goes = Session(), Session()
    open_sessions.add(stays)
    open_sessions.add(goes)
    open_sessions.discard(goes)

    open_sessions.close_all()

    assert stays.closed and not goes.closed
