"""As much of Ray as replicas need: in this process, and at once."""

import time


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause):
        self.cause = cause


class Hangs(Exception):
    """What a call raises whose process is stopped: nobody hears of it."""


class exceptions:
    RayError = RayError
    RayTaskError = RayTaskError
    RayActorError = RayError
    ObjectLostError = RayError


class Method:
    def __init__(self, call):
        self.call = call

    def options(self, **options):
        return self

    def remote(self, *arguments):
        return Answer(lambda: self.call(*arguments))


class Answer:
    def __init__(self, call):
        self.call = call
        self.done, self.value, self.error = False, None, None
        self.try_again()

    def try_again(self):
        """What hangs is there once its process goes on."""
        if self.done:
            return
        try:
            self.value = self.call()
        except RayError as error:
            self.error = error
        except Hangs:
            return
        self.done = True


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

    def nodes(self):
        return [{"Alive": True, "NodeManagerAddress": "127.0.0.1"}]

    def cluster_resources(self):
        return {"CPU": 64.0}

    available_resources = cluster_resources

    def put(self, value):
        return Answer(lambda: value)

    def remote(self, kind):
        return self

    def options(self, **options):
        return Maker(self.left)

    def wait(self, answers, num_returns=1, timeout=None, fetch_local=True):
        end = time.monotonic() + (1e9 if timeout is None else timeout)
        while True:
            for answer in answers:
                answer.try_again()
            done = [answer for answer in answers if answer.done]
            if len(done) >= num_returns or time.monotonic() > end:
                break
            time.sleep(0.002)
        done = done[:num_returns]
        return done, [answer for answer in answers if answer not in done]

    def get(self, answer):
        assert answer.done, "it would wait for ever"
        if answer.error is not None:
            raise answer.error
        return answer.value

    def kill(self, actor, no_restart=True):
        self.killed.append(actor)
        if not no_restart:
            actor.die()
