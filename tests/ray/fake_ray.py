"""As much of Ray as replicas need: in this process, and at once."""


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause):
        self.cause = cause


class exceptions:
    RayError = RayError
    RayTaskError = RayTaskError


class Method:
    def __init__(self, call):
        self.call = call

    def remote(self, *arguments):
        return Answer(lambda: self.call(*arguments))


class Answer:
    def __init__(self, call):
        self.value, self.error = None, None
        try:
            self.value = call()
        except RayError as error:
            self.error = error


class Maker:
    def __init__(self, actors):
        self.actors = actors

    def remote(self, settings):
        return self.actors.pop(0)


class FakeRay:
    """Makes one actor after the other, of those that it is given."""

    exceptions = exceptions

    def __init__(self, *actors):
        self.actors, self.left, self.killed = actors, [*actors], []

    def put(self, value):
        return Answer(lambda: value)

    def remote(self, kind):
        return self

    def options(self, **options):
        return Maker(self.left)

    def wait(self, answers, num_returns=1, timeout=None):
        return [*answers], []

    def get(self, answer):
        if answer.error is not None:
            raise answer.error
        return answer.value

    def kill(self, actor):
        self.killed.append(actor)
